"""What the compose stack needs besides the product: secrets and certificates, a welcome, a crowd of subscribers."""
