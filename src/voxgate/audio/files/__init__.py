"""Sound files, from disks and pipes, in blocks. The length that a header claims is checked against the content."""

from voxgate.audio.files.container import container_of, may_become_container
from voxgate.audio.files.errors import SoundFileError
from voxgate.audio.files.reader import SoundFile, open_sound_file

__all__ = ["SoundFile", "SoundFileError", "container_of", "may_become_container", "open_sound_file"]
