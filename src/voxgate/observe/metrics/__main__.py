from voxgate.observe.metrics.reference import reference

print(reference(), end="")
