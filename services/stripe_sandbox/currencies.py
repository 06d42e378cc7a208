"""The currencies that the sandbox takes, by ISO 4217 code in lower case as Stripe writes them."""

from stripe_sandbox.errors import invalid

_CODES = """
    usd aed afn all amd ang aoa ars aud awg azn bam bbd bdt bgn bhd bif bmd bnd bob brl bsd bwp byn bzd cad cdf chf clp
    cny cop crc cve czk djf dkk dop dzd egp etb eur fjd fkp gbp gel gip gmd gnf gtq gyd hkd hnl htg huf idr ils inr isk
    jmd jod jpy kes kgs khr kmf krw kwd kyd kzt lak lbp lkr lrd lsl mad mdl mga mkd mmk mnt mop mur mvr mwk mxn myr mzn
    nad ngn nio nok npr nzd omr pab pen pgk php pkr pln pyg qar ron rsd rub rwf sar sbd scr sek sgd shp sle sos srd std
    szl thb tjs tnd top try ttd twd tzs uah ugx uyu uzs vnd vuv wst xaf xcd xcg xof xpf yer zar zmw
"""
CURRENCIES = frozenset(_CODES.split())

MAX_AMOUNT = 99_999_999
"""Stripe's bound of eight digits in the currency's minor unit."""


def currency(name: str, value: object) -> str:
    """The lower-case code of a known currency; raises Stripe's 400 for any other."""
    if isinstance(value, str) and value.lower() in CURRENCIES:
        return value.lower()
    shown = value if isinstance(value, str) else "object"
    raise invalid(
        f"Invalid currency: {shown[:20]}. Stripe currently supports these currencies: "
        + ", ".join(sorted(CURRENCIES)),
        param=name,
    )
