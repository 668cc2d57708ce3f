"""What is in a pack: one HDF5 file of a shard's clips.

Datasets, one row a clip, in the segment list's order: `clip` UTF-8 names; `start`, `end` float64 seconds in the source
video; `target` (clips, classes) uint8 weak labels; `source_rate` int32 Hz, `source_seconds`; `peak`, `mean`, `rms`,
`clipped`, `jumps` float32 (`audio.clips.Statistics`); `blake2b`, a hash of the int16 samples. The waveforms are, by the
attribute `codec`,

- pcm16: `waveform` (rows, samples) int16, one chunk a row, and a row a clip; a clip that is longer has as many rows as it
  fills, one after the other, the last one zero-padded;
- flac: `flac` (bytes,) uint8, one FLAC stream a clip, which of clip i ends before `flac_end[i]`;
- in_place: not there, but in row `linked_row[i]` of `waveform` in the HDF5 file `linked_file[linked[i]]`, whose
  `codecs.mark` was `linked_mark[linked[i]]`.

`length` (clips,) int64, samples of each clip: only there if a clip has more than rate x clip_seconds of them.

One row a class: `class_mid`, `class_name`. Attributes: format, version, complete (written last), sample_rate,
clip_seconds, codec, dataset, split, shard, clips_asked, clips_lost, provenance (JSON). There is no time stamp in it:
the same input gives the same bytes.
"""

FORMAT = "glat-pack"
VERSION = 2
