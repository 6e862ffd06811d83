"""A decoder process that does what its "file" says: as the real one would under an exploit or a fault of a codec."""

import os
import signal
import sys
import time

from trrg_core.imaging import decode, decoder_process
from trrg_core.imaging.decode import ImageForm, PreparedImage

_decode = decode.prepare_image


def prepare(data: bytes, form: ImageForm) -> PreparedImage:
    order, _, argument = data.partition(b":")
    if order == b"segfault" or (order == b"once" and not os.path.exists(argument)):
        if argument:
            os.close(os.open(argument, os.O_CREAT))
        os.kill(os.getpid(), signal.SIGSEGV)
    elif order == b"hang":
        time.sleep(600)
    elif order == b"loop":
        while True:
            pass
    elif order == b"memory":
        bytearray(8 * 2**30)
    elif order == b"write":
        with open(argument, "wb") as file:
            file.write(b"x")
    elif order == b"credentials":
        raise KeyError if "AWS_SECRET_ACCESS_KEY" in os.environ else OverflowError
    elif order == b"babble":
        os.write(int(sys.argv[1]), b"\xff" * 4096)
    return _decode(argument if order == b"once" or order == b"babble" else data, form)


decoder_process.prepare_image = prepare
if __name__ == "__main__":
    decoder_process.main(*map(int, sys.argv[1:3]))
