"""Which channel of a file shows which marker: by name, never by guess."""

from __future__ import annotations

from sevhisto.config import ChannelSettings, PanelSettings
from sevhisto.types import Problem, SlideError

RGB = ("R", "G", "B")


def match_channels(panel: PanelSettings, names: tuple[str, ...], where: str = "study.toml") -> list[int]:
    """Return the file's channel index (from 0) for each channel of the panel, in the panel's order.

    Parameters
    ----------
    panel : a fluorescence panel; for a brightfield panel the colours [0, 1, 2] are returned, from which its stains are unmixed
    names : the file's channel names, in file order; ``("R", "G", "B")`` for a colour image
    where : named in the error, such as the file

    Raises
    ------
    SlideError
        A channel is not in the file, fits two channels of the file, or is taken by two markers; a colour image in a fluorescence panel, or
        the reverse.
    """
    colour = tuple(n.upper() for n in names) == RGB
    if panel.kind == "brightfield":
        if not colour:
            what = f"the panel is brightfield, but the file has channels {_listed(names)}"
            raise SlideError(Problem(where, what, "a brightfield panel needs a colour (RGB) image; check `panel` in slides.csv"))
        return [0, 1, 2]
    if colour:
        remedy = 'export the raw channels from the microscope, or set kind = "brightfield" if this is a stain seen in colour'
        raise SlideError(Problem(where, "the panel is fluorescence, but the file is a colour (RGB) image", remedy))
    problems: list[Problem] = []
    places: list[int] = []
    for channel in panel.stained.channels:
        found = _find(channel, names)
        if len(found) == 1:
            places.append(found[0])
        else:
            problems.append(_not_one(channel, found, names, where))
    for place in sorted({p for p in places if places.count(p) > 1}):
        what = f"channel {place + 1} ({names[place]!r}) is given to more than one marker"
        problems.append(Problem(where, what, "correct `channel` or `aliases` in study.toml"))
    if problems:
        raise SlideError(problems)
    return places


def _find(channel: ChannelSettings, names: tuple[str, ...]) -> list[int]:
    if isinstance(channel.channel, int):
        return [channel.channel - 1] if 1 <= channel.channel <= len(names) else []
    own, *aliases = (_plain(n) for n in (channel.channel, *channel.aliases))
    exact = [i for i, name in enumerate(names) if _plain(name) == own]
    return exact or [i for i, name in enumerate(names) if _plain(name) in aliases]


def _plain(name: str) -> str:
    return " ".join(name.casefold().split())


def _not_one(channel: ChannelSettings, found: list[int], names: tuple[str, ...], where: str) -> Problem:
    wanted = f"channel {channel.channel!r} of marker {channel.marker!r}"
    if found:
        numbers = " and ".join(str(i + 1) for i in found)
        return Problem(where, f"{wanted} fits channels {numbers} of the file", "give the channel's number (from 1) in study.toml")
    remedy = "add the file's name of this channel to `aliases` in study.toml, or give its number (from 1) as `channel`"
    return Problem(where, f"{wanted} is not in the file, which has {_listed(names)}", remedy)


def _listed(names: tuple[str, ...]) -> str:
    return ", ".join(f"{i} {name!r}" for i, name in enumerate(names, 1)) or "no channels"
