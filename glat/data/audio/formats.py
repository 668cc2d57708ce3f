"""Which files are audio: one table of suffixes for every source and for `glat tag`, and what the two decoders open.

FFmpeg (through PyAV) decodes nearly all of them; libsndfile the rest, and those in which it is the quicker of the two.
"""

from __future__ import annotations

# In the order of preference between files of one clip: lossless ones, then what YouTube serves, then the others.
SUFFIXES = (
    ".flac", ".wav", ".wave", ".w64", ".rf64", ".aiff", ".aif", ".aifc", ".caf", ".wv", ".ape", ".tta", ".tak",
    ".m4a", ".webm", ".opus", ".mp4", ".mkv", ".mka", ".weba", ".m4b", ".m4v", ".mov",
    ".aac", ".adts", ".ogg", ".oga", ".ogv", ".spx", ".mp3", ".mp2", ".mpga", ".wma", ".wmv", ".asf", ".ac3", ".eac3",
    ".dts", ".au", ".snd", ".voc", ".amr", ".3gp", ".3gpp", ".3g2", ".avi", ".flv", ".ts", ".mts", ".m2ts", ".mpg",
    ".mpeg", ".vob", ".rm", ".ra", ".rmvb", ".dsf", ".mpc", ".oma", ".sox", ".sph", ".nist", ".sf", ".ircam", ".svx",
    ".8svx", ".iff", ".avr", ".paf", ".pvf", ".sds", ".xi", ".wve", ".htk", ".mat",
)  # fmt: skip
KNOWN = frozenset(SUFFIXES)

# FFmpeg's demuxers that read one file and nothing else: a playlist (HLS, concat) could name other files, or the network.
CONTAINERS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,wav,w64,flac,mp3,ogg,aac,aiff,caf,asf,au,voc,wv,ape,tta,tak,ac3,eac3,dts,amr,"
    "avi,flv,mpegts,mpeg,rm,dsf,mpc,mpc8,oma,sox,nistsphere,ircam,iff"
)
# Those whose header holds the length. In the others FFmpeg guesses it from a bit rate: only decoding tells.
DECLARE_LENGTH = frozenset((
    "mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm", "wav", "w64", "flac", "aiff", "caf", "au", "wv", "ape", "tta", "tak",
    "dsf", "asf", "rm", "nistsphere",
))  # fmt: skip
BARE = frozenset(("mp3", "aac", "ac3", "eac3", "dts", "amr"))  # packets and nothing else
UNTIMED = BARE | {"avi"}  # their times are guesses too: no place to seek by
FLAT = frozenset(("wav", "w64", "aiff", "caf", "au", "sox", "nistsphere", "ircam", "iff"))  # zeros in them are silence
PLAIN = frozenset(("wav", "w64", "aiff"))  # made for PCM: of a compressed sound, their times and lengths are no witness

# Codecs that give back what was put in: nothing of it may be missing, and their frames have checksums.
LOSSLESS = frozenset(("flac", "alac", "wavpack", "tta", "ape", "tak", "mlp", "truehd"))


def extension(name: str) -> str:
    """The suffix of a file that may be audio, as it is written; "" for any other."""
    _, dot, found = name.rpartition(".")
    return f".{found}" if dot and f".{found.lower()}" in KNOWN else ""
