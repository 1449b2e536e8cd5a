"""A Triton backend called `cpu` that compiles nothing.

vLLM takes its second model runner only where Triton is; with this on the path and TRITON_INTERPRET=1 Triton
counts as present, and its interpreter runs the kernels. For tests only.
"""
