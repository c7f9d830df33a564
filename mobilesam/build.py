"""The old path of names in :mod:`mobilesam.modeling.build`."""

from mobilesam._moved import moved

__getattr__ = moved(
    __name__,
    {
        "build_sam": "mobilesam.modeling.build.build_sam",
        "build_sam_vit_t": "mobilesam.modeling.build.build_sam_vit_t",
        "sam_model_registry": "mobilesam.modeling.build.sam_model_registry",
    },
)
