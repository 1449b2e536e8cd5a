"""The half that would compile."""

from triton.backends.compiler import BaseBackend


class NoCompiler(BaseBackend):
    """Never asked to compile: kernels are interpreted."""

    @staticmethod
    def supports_target(target):
        return target.backend == "cpu"

    def hash(self):
        return "none"

    def parse_options(self, options):
        raise NotImplementedError

    def add_stages(self, stages, options, language):
        raise NotImplementedError

    def load_dialects(self, context):
        raise NotImplementedError

    def get_module_map(self):
        return {}
