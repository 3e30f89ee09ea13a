"""The codes of LZW data in a TIFF, walked before they are unpacked: an encoder writes them one way only (TIFF 6.0, section 13).

It always takes the longest string that its table holds, so a string and the byte that follows it come up as a pair once. Damage that
happens to unpack to the right number of bytes often breaks that rule.
"""

from __future__ import annotations

import numpy as np

from sevhisto.compiled import compiled
from sevhisto.types import AnyArray

_WHOLE, _NO_CODE, _NO_END, _TWICE, _MORE = range(5)
_SAID = {
    _NO_CODE: "its LZW data hold a code that is none",
    _NO_END: "its LZW data do not end",
    _TWICE: "its LZW data are written as no program writes them",
    _MORE: "something follows the end of its LZW data",
}


def damage_in(data: bytes) -> str:
    """Return what is wrong with packed data, as words that follow "damaged: "; "" where nothing is.

    Data of the form before TIFF 6, whose bits run the other way, are not judged; nor is the rule of the longest string, where only single
    bytes are written.
    """
    if len(data) > 1 and data[0] == 0 and data[1] & 1:
        return ""
    status, end = _walk(np.frombuffer(data, np.uint8))
    if status == _WHOLE and any(data[end:]):
        status = _MORE
    return _SAID.get(int(status), "")


@compiled
def _walk(data: AnyArray) -> tuple[int, int]:
    """Return how the codes end, and the byte behind them."""
    first = np.zeros(4097, np.uint8)
    seen = np.zeros(4096 * 256, np.uint16)  # by string and byte: the number of the table in which the pair came up
    table, n_codes, width, before, used, twice = 0, 0, 9, -1, False, False
    for i in range(256):
        first[i] = i
    held, n, at = 0, 0, 0
    while True:
        while n < width:
            if at >= len(data):
                return _NO_END, at
            held = ((held << 8) | int(data[at])) & 0xFFFFFF
            n, at = n + 8, at + 1
        n -= width
        code = (held >> n) & ((1 << width) - 1)
        if code == 257:
            return (_TWICE if twice and used else _WHOLE), at
        if code == 256:
            table, n_codes, width, before = table % 65535 + 1, 258, 9, -1
            continue
        if n_codes == 0 or code > n_codes or (before < 0 and code > 255) or (code == n_codes and n_codes > 4095):
            return _NO_CODE, at
        used = used or code > 257
        if before >= 0 and n_codes < 4096:
            new = first[before] if code == n_codes else first[code]
            pair = before * 256 + int(new)
            twice = twice or seen[pair] == table
            seen[pair] = table
            first[n_codes] = first[before]
            n_codes += 1
            if n_codes + 1 >= 1 << width and width < 12:
                width += 1
        before = code
