"""`python -m deploy.init`: makes a new stack's secrets and certificates, and lays each where its reader looks."""
