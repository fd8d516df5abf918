from voxgate.metrics.reference import reference

print(reference(), end="")
