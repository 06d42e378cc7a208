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

_THREE_DECIMALS = frozenset({"bhd", "jod", "kwd", "omr", "tnd"})
"""Sent in thousandths, of which the card networks carry hundredths: the last digit must be 0."""

_AS_IF_TWO_DECIMALS = frozenset({"isk", "ugx"})
"""Sent with two decimals that these currencies do not have any more: they must be 00."""

_CODES_BY_MINIMUM = {
    30: "gbp",
    50: "usd aud brl cad chf eur inr jpy nzd sgd",
    100: "bgn",
    200: "aed myr pln ron",
    250: "dkk",
    300: "nok sek",
    400: "hkd",
    1000: "mxn thb",
    1500: "czk",
    17500: "huf",
}
"""What Stripe charges at least, as sent. For other currencies it converts, which the sandbox does not.
Source: https://docs.stripe.com/currencies#minimum-and-maximum-charge-amounts."""

_MINIMUMS = {code: minimum for minimum, codes in _CODES_BY_MINIMUM.items() for code in codes.split()}

_SYMBOLS = {"usd": "$", "eur": "\N{EURO SIGN}", "gbp": "\N{POUND SIGN}", "jpy": "\N{YEN SIGN}"}


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


def check_amount(amount: int, code: str) -> None:
    """Raises Stripe's 400 for an amount that does not exist in its currency, or that is too small to be charged.

    Source: https://docs.stripe.com/currencies#special-cases.
    """
    step = 10 if code in _THREE_DECIMALS else 100 if code in _AS_IF_TWO_DECIMALS else 1
    if amount % step:
        raise invalid(
            f"Invalid integer: {amount}. Amounts in {code} must be evenly divisible by {step}.",
            param="amount",
            code="parameter_invalid_integer",
        )
    minimum = _MINIMUMS.get(code, 1)
    if amount < minimum:
        shown = str(minimum) if code == "jpy" else f"{minimum // 100}.{minimum % 100:02d}"
        message = f"Amount must be at least {_SYMBOLS.get(code, '')}{shown} {code}"
        raise invalid(message, param="amount", code="amount_too_small")
