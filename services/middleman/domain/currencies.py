"""Active currencies of ISO 4217 with their exponents (digits after the decimal point), and which the processor takes.

Source: ISO 4217 list one (https://www.six-group.com/en/products-services/financial-information/data-standards.html).
Funds codes, precious metals and test codes (XAU, XDR, XTS, …) are left out: nobody is billed in them.
"""

from collections.abc import Mapping
from types import MappingProxyType

_ZERO = "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX VND VUV XAF XOF XPF"

_THREE = "BHD IQD JOD KWD LYD OMR TND"

_TWO = """
AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BMD BND BOB BRL BSD BTN BWP BYN BZD CAD CDF CHF CNY COP CRC
CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GTQ GYD HKD HNL HTG HUF IDR ILS INR IRR
JMD KES KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MYR MZN NAD
NGN NIO NOK NPR NZD PAB PEN PGK PHP PKR PLN QAR RON RSD RUB SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN
SVC SYP SZL THB TJS TMT TOP TRY TTD TWD TZS UAH USD UYU UZS VED VES WST XCD XCG YER ZAR ZMW ZWG
"""

ISO_EXPONENTS: Mapping[str, int] = MappingProxyType(
    dict.fromkeys(_ZERO.split(), 0) | dict.fromkeys(_TWO.split(), 2) | dict.fromkeys(_THREE.split(), 3)
)
"""What money can be in."""

# Stripe refuses these (https://docs.stripe.com/currencies#presentment-currencies).
_NOT_TAKEN = "BTN CUP ERN GHS IQD IRR KPW LYD MRU SDG SSP STN SVC SYP TMT VED VES ZWG"

EXPONENTS: Mapping[str, int] = MappingProxyType(
    {code: exponent for code, exponent in ISO_EXPONENTS.items() if code not in _NOT_TAKEN.split()}
)
"""What can be charged in."""

MINIMUM_MINOR: Mapping[str, int] = MappingProxyType(
    {"AED": 200, "AUD": 50, "BRL": 50, "CAD": 50, "CHF": 50, "CZK": 1500, "DKK": 250, "EUR": 50, "GBP": 30}
    | {"HKD": 400, "HUF": 17500, "INR": 50, "JPY": 50, "MXN": 1000, "MYR": 200, "NOK": 300, "NZD": 50}
    | {"PLN": 200, "RON": 200, "SEK": 300, "SGD": 50, "THB": 1000, "USD": 50}
)
"""Stripe's smallest charges, in minor units (https://docs.stripe.com/currencies#minimum-and-maximum-charge-amounts).

For every other currency Stripe takes what half a US dollar is worth on that day, which we do not know.
"""
