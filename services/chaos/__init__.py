"""The adversary and the judge: they see middleman only from outside."""
