"""Files of which one bit is flipped."""

import h5py


def flip_a_bit_of(path, name):
    """Flip a bit where a NetCDF file keeps the values of a variable."""
    with h5py.File(path) as file:
        stored = file[name].id
        start = stored.get_offset() or stored.get_chunk_info(0).byte_offset
    with open(path, "rb+") as file:
        file.seek(start + 1)
        byte = file.read(1)[0]
        file.seek(start + 1)
        file.write(bytes([byte ^ 4]))
