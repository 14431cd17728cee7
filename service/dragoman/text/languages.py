"""Language codes: which ones exist, so that a misspelt code and a language that is not served get different errors."""

from __future__ import annotations

import re

_CODES = """
    aa ab ae af ak am an ar as av ay az ba be bg bh bi bm bn bo br bs ca ce ch co cr cs cu cv cy da
    de dv dz ee el en eo es et eu fa ff fi fj fo fr fy ga gd gl gn gu gv ha he hi ho hr ht hu hy hz
    ia id ie ig ii ik io is it iu ja jv ka kg ki kj kk kl km kn ko kr ks ku kv kw ky la lb lg li ln
    lo lt lu lv mg mh mi mk ml mn mr ms mt my na nb nd ne ng nl nn no nr nv ny oc oj om or os pa pi
    pl ps pt qu rm rn ro ru rw sa sc sd se sg si sk sl sm sn so sq sr ss st su sv sw ta te tg th ti
    tk tl tn to tr ts tt tw ty ug uk ur uz ve vi vo wa wo xh yi yo za zh zu
"""
# Languages without a two-letter code that other translators know.
_LONGER = """
    ace acm aeb ajp apc ars ary arz ast awa azb ban bem bho bjn bug ceb cjk ckb crh dik dyu fil fon fur fuv gaz
    hne ilo kac kab kam kbp kea kmb kmr knc lij lmo ltg lua luo lus mag mai min mni mos nso nus pag pap pbt prs
    quy sat scn shn szl taq tpi tum tzm umb vec war yue zsm
"""
_KNOWN = frozenset([*_CODES.split(), *_LONGER.split()])
_CODE = re.compile(r"([A-Za-z]{2,3})([-_][A-Za-z0-9]{2,8})*")


def primary_language(code: str) -> str | None:
    """Return the language of a code that may have a script or region; None if it is not a language.

    >>> primary_language("es-419"), primary_language("en_US"), primary_language("fil"), primary_language("xx")
    ('es', 'en', 'fil', None)
    """
    match = _CODE.fullmatch(code)
    if match is None or match[1].lower() not in _KNOWN:
        return None
    return match[1].lower()
