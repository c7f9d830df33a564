"""SamPredictor beyond parity: shapes, batches, state, threads, embeddings on disk, and what bad input gets."""

from __future__ import annotations

import concurrent.futures
import inspect

import numpy as np
import pytest
from PIL import Image

import mobilesam
from mobilesam import SamPredictor
from mobilesam.errors import ImageNotSetError, InputError
from mobilesam.image.transform import ResizeLongestSide
from mobilesam.masks import chooser, selection
from tests.photos import photo

pytestmark = [pytest.mark.weights, pytest.mark.torch]

CAT_NOSE = [[235, 165]]


@pytest.fixture(scope="module")
def cat(torch_sam):
    """A predictor with the cat set; tests must not set another image."""
    predictor = SamPredictor(torch_sam)
    predictor.set_image(photo("chelsea"))
    return predictor


@pytest.fixture
def fresh(torch_sam, cat):
    """A predictor of its own, with the cat set, at the price of no encoding."""
    predictor = SamPredictor(torch_sam)
    predictor._set(cat._embedding)
    return predictor


def test_signature_is_the_reference_one():
    parameters = inspect.signature(SamPredictor.predict).parameters.values()
    assert [(p.name, p.default) for p in parameters][1:] == [
        ("point_coords", None),
        ("point_labels", None),
        ("box", None),
        ("mask_input", None),
        ("multimask_output", True),
        ("return_logits", False),
    ]


def test_shapes_types_and_unpacking(cat):
    prediction = cat.predict(CAT_NOSE, [1])
    masks, iou_predictions, low_res_logits = prediction
    assert masks is prediction.masks
    assert (masks.shape, masks.dtype) == ((3, 300, 451), np.bool_)
    assert (iou_predictions.shape, iou_predictions.dtype) == ((3,), np.float32)
    assert (low_res_logits.shape, low_res_logits.dtype) == ((3, 256, 256), np.float32)
    logits = cat.predict(CAT_NOSE, [1], return_logits=True).masks
    assert logits.dtype == np.float32
    assert ((logits > 0) == masks).all()


def test_predict_equals_predict_torch(cat):
    import torch

    masks, ious, low_res = cat.predict(CAT_NOSE, [1])
    coords = cat.transform.apply_coords_torch(torch.tensor([CAT_NOSE]), cat.original_size)
    torch_masks, torch_ious, torch_low_res = cat.predict_torch(coords, torch.tensor([[1]]))
    np.testing.assert_array_equal(torch_masks[0], masks)
    np.testing.assert_allclose(torch_ious[0], ious, atol=1e-6)
    np.testing.assert_allclose(torch_low_res[0], low_res, atol=1e-5)


@pytest.mark.parametrize("box", [[120, 40, 350, 280], [[120, 40, 350, 280]]], ids=["(4,)", "(1, 4)"])
def test_one_box_gives_one_prompt(cat, box):
    assert cat.predict(box=np.array(box), multimask_output=False).masks.shape == (1, 300, 451)


def test_a_batch_equals_its_prompts_one_by_one(cat):
    points = np.array([[[235, 165]], [[60, 60]], [[400, 20]], [[300, 250]], [[10, 290]]])
    labels = np.ones((5, 1), int)
    batch = cat.predict(points, labels)
    assert batch.masks.shape == (5, 3, 300, 451)
    for index in range(5):
        single = cat.predict(points[index], labels[index])
        np.testing.assert_allclose(batch.iou_predictions[index], single.iou_predictions, atol=1e-5)
        np.testing.assert_allclose(batch.low_res_logits[index], single.low_res_logits, atol=1e-3)


def test_padding_points_change_nothing_that_the_reference_would_not(cat):
    """A point labeled -1 takes part as "no point", wherever it is."""
    here = cat.predict([*CAT_NOSE, [0, 0]], [1, -1]).low_res_logits
    there = cat.predict([*CAT_NOSE, [400, 200]], [1, -1]).low_res_logits
    np.testing.assert_array_equal(here, there)


def test_a_mask_alone_is_a_prompt(cat):
    first = cat.predict(CAT_NOSE, [1])
    best = first.low_res_logits[[first.iou_predictions.argmax()]]
    again = cat.predict(mask_input=best, multimask_output=False)
    expected = first.masks[first.iou_predictions.argmax()]
    assert (again.masks[0] & expected).sum() / (again.masks[0] | expected).sum() > 0.8


def test_bgr_rgb_path_and_pillow_are_one_photo(torch_sam, tmp_path):
    rgb = photo("coins")[:96, :128].copy()
    rgb[..., 0] //= 2
    path = tmp_path / "coins.png"
    Image.fromarray(rgb).save(path)
    predictor, digests = SamPredictor(torch_sam), []
    for source, image_format in [(rgb, "RGB"), (rgb[..., ::-1], "BGR"), (path, "RGB"), (Image.open(path), "RGB")]:
        predictor.set_image(source, image_format)
        digests.append(predictor.features.sum().item())
    assert len(set(digests)) == 1


@pytest.mark.parametrize("shape", [(1, 500, 3), (700, 1, 3), (1, 1, 3)])
def test_one_pixel_sides(sam, shape):
    predictor = SamPredictor(sam)
    predictor.set_image(np.full(shape, 90, np.uint8))
    assert predictor.predict([[0, 0]], [1]).masks.shape == (3, *shape[:2])


def test_set_torch_image_is_set_image(sam, cat):
    import torch

    predictor = SamPredictor(sam)
    resized = predictor.transform.apply_image(photo("chelsea"))
    tensor = torch.from_numpy(resized.copy()).permute(2, 0, 1)[None]
    predictor.set_torch_image(tensor, photo("chelsea").shape[:2])
    assert (predictor.input_size, predictor.original_size) == ((681, 1024), (300, 451))
    np.testing.assert_allclose(predictor.features, cat.features, atol=1e-5)
    with pytest.raises(InputError, match=r"transformed_image must have shape \(1, 3, h, w\).*got \(1, 3, 300, 451\)"):
        predictor.set_torch_image(torch.zeros(1, 3, 300, 451), (300, 451))


def test_no_photo_set(sam):
    predictor = SamPredictor(sam)
    sentence = "No image is set. Call set_image before predicting."
    for call in (lambda: predictor.predict(CAT_NOSE, [1]), predictor.get_image_embedding):
        with pytest.raises(ImageNotSetError, match=sentence):
            call()
    assert (predictor.is_image_set, predictor.features, predictor.original_size, predictor.input_size) == (
        False,
        None,
        None,
        None,
    )


def test_reset_forgets_everything(fresh):
    fresh.reset_image()
    assert (fresh.is_image_set, fresh.features, fresh.original_size, fresh.input_size) == (False, None, None, None)
    with pytest.raises(ImageNotSetError):
        fresh.predict(CAT_NOSE, [1])


@pytest.mark.parametrize("bad", [None, np.zeros((0, 5, 3), np.uint8), np.full((4, 4, 3), np.nan), "no such file.png"])
def test_a_bad_photo_leaves_the_earlier_one_usable(fresh, cat, bad):
    with pytest.raises(InputError):
        fresh.set_image(bad)
    np.testing.assert_array_equal(fresh.predict(CAT_NOSE, [1]).masks, cat.predict(CAT_NOSE, [1]).masks)


def test_a_bad_prompt_leaves_the_photo_usable(fresh, cat):
    with pytest.raises(InputError, match="point_coords must come with point_labels"):
        fresh.predict(CAT_NOSE)
    with pytest.raises(InputError, match=r"mask_input must have shape"):
        fresh.predict(CAT_NOSE, [1], mask_input=np.zeros((1, 64, 64)))
    np.testing.assert_array_equal(fresh.predict(CAT_NOSE, [1]).masks, cat.predict(CAT_NOSE, [1]).masks)


def test_threads_share_a_photo(cat):
    prompts = [[[20 * i + 10, 10 * i + 20]] for i in range(12)]
    expected = [cat.predict(prompt, [1]).low_res_logits for prompt in prompts]
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda prompt: cat.predict(prompt, [1]).low_res_logits, prompts))
    for a, b in zip(results, expected, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-4)


def test_decoder_weights_loaded_after_a_prediction_are_the_ones_used(sam):
    import copy

    import torch

    changing = copy.deepcopy(sam)
    predictor = SamPredictor(changing)
    predictor.set_image(photo("coins")[:64, :64])
    before = predictor.predict([[30, 30]], [1]).low_res_logits
    with torch.no_grad():
        for layer in (changing.mask_decoder.transformer.layers[0].cross_attn_token_to_image.k_proj,):
            layer.weight.mul_(1.5)
    after = predictor.predict([[30, 30]], [1]).low_res_logits
    assert np.abs(after - before).max() > 0.01
    predictor.set_image(photo("coins")[:64, :64])
    np.testing.assert_array_equal(predictor.predict([[30, 30]], [1]).low_res_logits, after)


def test_embedding_round_trip(fresh, cat, sam, tmp_path):
    path = tmp_path / "cat.npz"
    cat.save_embedding(path)
    fresh.reset_image()
    fresh.load_embedding(path, photo("chelsea"))
    np.testing.assert_array_equal(fresh.predict(CAT_NOSE, [1]).masks, cat.predict(CAT_NOSE, [1]).masks)
    assert (fresh.original_size, fresh.input_size) == (cat.original_size, cat.input_size)


def test_embedding_refused(cat, fresh, sam, tmp_path):
    path = tmp_path / "cat.npz"
    cat.save_embedding(path)
    with pytest.raises(InputError, match=r"this image, got .*cat\.npz, which belongs to another image; encode"):
        fresh.load_embedding(path, photo("coins"))
    fields = dict(np.load(path))
    np.savez(tmp_path / "other.npz", **{**fields, "weights_id": np.array("0" * 64)})
    with pytest.raises(InputError, match=r"come from the weights in use, got .*other\.npz, which other weights made"):
        fresh.load_embedding(tmp_path / "other.npz")
    (tmp_path / "cut.npz").write_bytes(path.read_bytes()[:1000])
    with pytest.raises(InputError, match=r"embedding must be a file of save_embedding, got .*cut\.npz"):
        fresh.load_embedding(tmp_path / "cut.npz")
    with pytest.raises(InputError, match=r"embedding path must be an existing file, got .*none\.npz"):
        fresh.load_embedding(tmp_path / "none.npz")
    with pytest.raises(InputError, match=r"embedding path must end in \.npz, got"):
        cat.save_embedding(tmp_path / "cat.bin")
    assert fresh.is_image_set


def test_a_model_of_another_package_is_refused():
    import torch

    with pytest.raises(InputError, match=r"model must be a model of this package, got torch\.nn\.modules"):
        SamPredictor(torch.nn.Identity())


def test_half_precision_masks_are_near(sam, cat):
    import copy

    predictor = SamPredictor(copy.deepcopy(sam).bfloat16())
    predictor.set_image(photo("chelsea"))
    box = [120, 40, 350, 280]
    results, expected = (p.predict(box=box, multimask_output=False).masks[0] for p in (predictor, cat))
    assert (results & expected).sum() / (results | expected).sum() > 0.97


def test_registry_and_builders():
    from mobilesam import build_sam, build_sam_vit_t, sam_model_registry

    assert sam_model_registry["vit_t"] is sam_model_registry["default"] is build_sam is build_sam_vit_t
    with pytest.raises(InputError, match="model type must be one of default, vit_t, vit_b, vit_l, vit_h, got 'vit_x'"):
        sam_model_registry["vit_x"]
    with pytest.warns(UserWarning, match="untrained network"):
        assert not build_sam().training


def test_load_refuses_what_is_not_there():
    for arguments, message in [
        (
            {"backend": "tensorflow"},
            "backend must be one of auto, torch, onnx, openvino, litert, ncnn, got 'tensorflow'",
        ),
        ({"device": "tpu"}, "device must be one of auto, cpu, cuda, mps, got 'tpu'"),
        ({"threads": 0}, "threads must be a positive whole number, got 0"),
        ({"model": "mobile_san"}, "model must be one of .*did you mean 'mobile_sam'"),
        ({"model": "missing/file.pt"}, r"model must be a file that exists, got missing/file\.pt"),
    ]:
        with pytest.raises(InputError, match=message):
            mobilesam.load(**arguments)


def test_an_absent_accelerator_is_refused_not_replaced():
    import torch

    for name, there in (("cuda", torch.cuda.is_available()), ("mps", torch.backends.mps.is_available())):
        if not there:
            with pytest.raises(InputError, match=rf"device must be available here \(cpu.*\), got '{name}'"):
                mobilesam.load(device=name)


def test_fast_padding_is_near_and_exact_for_squares(sam, cat):
    predictor = SamPredictor(sam, fast_padding=True)
    predictor.set_image(photo("chelsea"))
    covered = 43  # rows of tokens: 681 of 1024 pixels
    results, expected = (p.features[0, :, :covered].flatten() for p in (predictor, cat))
    similarity = results @ expected / (results.norm() * expected.norm())
    assert 0.95 < similarity < 0.9999
    square = photo("astronaut")[:128, :128]
    predictor.set_image(square)
    fast = predictor.features
    predictor.fast_padding = False
    predictor.set_image(square)
    np.testing.assert_array_equal(fast, predictor.features)


@pytest.mark.parametrize("select", [None, "learned", "agreement", "score", "single"])
def test_predict_one_is_one_of_the_four(cat, select):
    three, single = cat.predict(CAT_NOSE, [1]), cat.predict(CAT_NOSE, [1], multimask_output=False)
    four = np.concatenate([single.low_res_logits, three.low_res_logits])
    scores = np.concatenate([single.iou_predictions, three.iou_predictions])
    one = cat.predict_one(CAT_NOSE, [1], select=select)
    point = np.array(CAT_NOSE[0]) * cat.input_size[0] / cat.original_size[0]
    confidences = chooser.confidences(four, scores, point, cat.input_size)
    expected = selection.choose(select or "learned", four, scores, confidences)
    np.testing.assert_allclose(one.low_res_logits[0], four[expected], atol=1e-4)
    assert one.masks.shape == (1, 300, 451)
    assert cat.predict_one(np.array([CAT_NOSE] * 3), np.ones((3, 1)), select=select).masks.shape == (3, 1, 300, 451)


@pytest.fixture
def state(cat):
    """The attributes of a predictor with an image, as a program stores them."""
    names = ("features", "original_size", "input_size")
    return {name: getattr(cat, name) for name in names}


@pytest.mark.parametrize("as_array", [False, True], ids=["tensor", "array"])
def test_the_image_can_be_assigned(torch_sam, cat, state, as_array):
    predictor = SamPredictor(torch_sam)
    assert (predictor.features, predictor.original_size, predictor.orig_h, predictor.is_image_set) == (
        None,
        None,
        None,
        False,
    )
    if as_array:
        state = {"features": state["features"].numpy(), "original_size": [300, 451], "input_size": [681, 1024]}
    for name, value in state.items():
        with pytest.raises(ImageNotSetError):
            predictor.predict(CAT_NOSE, [1])
        setattr(predictor, name, value)
    with pytest.raises(ImageNotSetError):
        predictor.predict(CAT_NOSE, [1])
    predictor.is_image_set = True
    assert (predictor.original_size, predictor.input_size) == ((300, 451), (681, 1024))
    assert (predictor.orig_h, predictor.orig_w, predictor.input_h, predictor.input_w) == (300, 451, 681, 1024)
    assert (predictor.predict(CAT_NOSE, [1]).masks == cat.predict(CAT_NOSE, [1]).masks).all()
    predictor.is_image_set = False
    with pytest.raises(ImageNotSetError):
        predictor.predict(CAT_NOSE, [1])
    predictor.is_image_set = True
    predictor.features = None
    with pytest.raises(ImageNotSetError):
        predictor.get_image_embedding()


def test_assigned_features_replace_the_embedding(fresh, cat, tmp_path):
    fresh.features = cat.features.flip(-1)
    assert not (fresh.predict(CAT_NOSE, [1]).low_res_logits == cat.predict(CAT_NOSE, [1]).low_res_logits).all()
    fresh.save_embedding(tmp_path / "assigned.npz")
    with np.load(tmp_path / "assigned.npz") as saved:
        assert saved["image_digest"] == ""
    fresh.features = cat.features[0]
    assert fresh.features.shape == (1, 256, 64, 64)
    fresh.reset_image()
    assert (fresh.features, fresh.original_size, fresh.input_size, fresh.is_image_set) == (None, None, None, False)


def test_the_image_can_be_assigned_on_onnx_runtime(onnx_sam, cat, state):
    predictor = SamPredictor(onnx_sam)
    for name, value in {**state, "is_image_set": True}.items():
        setattr(predictor, name, value)
    assert (predictor.predict(CAT_NOSE, [1]).masks != cat.predict(CAT_NOSE, [1]).masks).mean() < 1e-4


def test_a_wrong_value_of_the_image_is_refused(torch_sam):
    predictor = SamPredictor(torch_sam)
    with pytest.raises(InputError, match=r"features must have shape \(1, 256, 64, 64\), got \(64, 64, 256\); assign"):
        predictor.features = np.zeros((64, 64, 256), np.float32)
    for value in ((300,), 300, "abc"):
        with pytest.raises(InputError, match="original_size must be a height and a width, got"):
            predictor.original_size = value
    for value in ((0, 5), "ab", (np.inf, 5), (None, 5)):
        with pytest.raises(InputError, match="original_size must be pixels, at least 1, got"):
            predictor.original_size = value
    with pytest.raises(InputError, match="orig_h must be pixels, at least 1, got 'tall'"):
        predictor.orig_h = "tall"


def test_a_subclass_need_not_call_the_constructor(sam):
    class Named(SamPredictor):
        def __init__(self, network):
            self.model = network
            self.transform = ResizeLongestSide(network.image_encoder.img_size)

    predictor = Named(sam)
    assert not predictor.is_image_set
    assert predictor.features is None
    with pytest.raises(ImageNotSetError):
        predictor.predict(CAT_NOSE, [1])
    predictor.set_image(photo("chelsea"))
    assert predictor.predict(CAT_NOSE, [1]).masks.any()
    predictor.model = "no model"
    with pytest.raises(InputError, match=r"model must be a model of this package, got builtins\.str"):
        predictor.set_image(photo("chelsea"))


@pytest.mark.parametrize("hw", [(1024, 512), (30, 40)], ids=["its own size", "resized"])
def test_a_transformed_image_can_be_written_to(hw):
    image = np.zeros((*hw, 3), np.uint8)
    transformed = ResizeLongestSide(1024).apply_image(image)
    transformed[0, 0] = 255
    assert not image.any()
