"""Fused kernels, printed from a neuron's one ``step``; and compiled loops over events.

``neuron.backend`` chooses what runs a neuron:

- ``"auto"``, the default: cupy for CUDA tensors, numba on the CPU, torch where these are not
  installed.
- ``"torch"``: the plain reference, on every device; the only one with second derivatives.
- ``"numba"``: compiled loops on the CPU.
- ``"cupy"``: CUDA kernels, ``pip install "spikesim[gpu]"``.

A named backend that cannot serve raises :class:`~spikesim.errors.BackendError`.

A step is recorded (``tape``), differentiated (``reverse``), freed of its numbers (``program``) and
printed (``print_numba``, ``print_cuda``). ``call`` is what backends implement, ``operator`` what
:class:`~spikesim.neuron.Neuron` calls; ``ARCHITECTURE.md`` says how they fit together.
"""
