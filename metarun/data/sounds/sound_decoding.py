"""From the bytes of a recording to mono samples at one rate."""

from io import BytesIO

import numpy as np
from numpy.typing import NDArray

from metarun.errors import UserError

SUFFIXES = (".wav", ".flac", ".ogg", ".opus", ".mp3", ".aif", ".aiff", ".au")  # as libsndfile reads them


def decode(where: str, content: bytes, rate: int) -> tuple[NDArray[np.float32], int]:
    """Return the samples of a recording and the rate that it was recorded at.

    Channels are averaged, and another rate is resampled by soxr in high quality.

    Args:
        where: what messages call the recording.
        content: of the file; nothing is a recording without samples.
        rate: samples per second that are wanted.

    Returns:
        (samples,) in [-1, 1] at `rate`, and the original rate.

    Raises:
        UserError: soundfile or soxr is not installed, the file cannot be decoded, or a sample is not finite.
    """
    try:
        import soundfile
        import soxr
    except (ImportError, OSError) as error:  # OSError: the package is there but libsndfile is not
        raise UserError(f"recordings need soundfile and soxr ({error})", "pip install 'metarun[audio]'.") from error
    if not content:
        return np.empty(0, np.float32), rate
    try:
        channels, recorded = soundfile.read(BytesIO(content), dtype="float32", always_2d=True)
    except Exception as error:  # libsndfile's own, and a few of Python's, on foreign bytes
        reason = str(error).partition(": ")[2] or str(error) or type(error).__name__
        raise UserError(f"{where} cannot be decoded ({reason.rstrip('.')})", "fix or remove it.") from error
    wave: NDArray[np.float32] = channels.mean(1)
    if not np.isfinite(wave).all():
        raise UserError(f"{where} has a sample that is NaN or infinite", "fix or remove it.")
    if recorded != rate and len(wave):
        wave = soxr.resample(wave, recorded, rate)
    return wave, recorded
