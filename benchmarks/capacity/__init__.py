"""How many gateways and engines for so much work: a discrete-event simulation, and its check against a real gateway.

python -m benchmarks.capacity            writes the tables of deploy/CAPACITY.md
python -m benchmarks.capacity --check    the small cases, simulated and run
"""
