"""Files whose values are changed behind the back of what saved them."""

import h5py


def change_values(path, name):
    """Exchange the first two values of a variable of a NetCDF file; give a single one another."""
    with h5py.File(path, "r+") as file:
        if file[name].shape:
            file[name][:2] = file[name][:2][::-1]
        else:
            file[name][()] = 7.0
