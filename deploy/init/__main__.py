"""One shot, at every start, before everything else: what is missing is made, what is there is kept.

SECRETS_DIR holds one directory for each reader, ETCD_DATA_DIR one for each member's data; STRIPE_API_KEY, if set, is a
key of Stripe's test mode, STRIPE_WEBHOOK_SECRET the secret of an endpoint that it delivers to. Exit status 0 done, 2 with
one line that says what to do.
"""

import os
import sys
from pathlib import Path

from deploy.init.certificates import Authority
from deploy.init.keys import CannotInit, keys, stripe, webhook
from deploy.init.places import ETCD_MEMBERS, SANDBOX_URL, Processor, etcd_certificates, secrets


def init(secrets_dir: Path, etcd_data_dir: Path, stripe_api_key: str, webhook_secret: str = "") -> int:
    """How many files were laid down or changed. Raises `CannotInit`."""
    authority = secrets_dir / "authority"
    made = keys(authority)
    stripe_key, stripe_base = stripe(authority, stripe_api_key, made["sandbox-api-key"], SANDBOX_URL)
    signed_by = webhook(webhook_secret, made["stripe-webhook-secret"], at_stripe=bool(stripe_api_key))
    places = [
        *secrets(made, Processor(stripe_key, stripe_base, *signed_by)),
        *etcd_certificates(Authority(authority, "etcd-clients"), Authority(authority, "etcd-peers")),
    ]
    for member in ETCD_MEMBERS:
        # Not the volume's root: etcd wants its data where nobody else may look.
        (etcd_data_dir / member / "data").mkdir(mode=0o700, exist_ok=True)
    return sum(place.lay(secrets_dir) for place in places)


def main() -> int:
    """Exit status."""
    root, data = (Path(os.environ.get(name, "")) for name in ("SECRETS_DIR", "ETCD_DATA_DIR"))
    try:
        given = (os.environ.get(name, "").strip() for name in ("STRIPE_API_KEY", "STRIPE_WEBHOOK_SECRET"))
        changed = init(root, data, *given)
    except CannotInit as error:
        print(f"init: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(
            f"init: cannot write {error.filename}: {error.strerror}; are all volumes mounted, and ours?",
            file=sys.stderr,
        )
        return 2
    print(f"init: {changed} files laid down" if changed else "init: everything is there")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
