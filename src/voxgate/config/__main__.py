from voxgate.config import reference

print(reference(), end="")
