"""The tables of the page, of the model in a tab and of many images: see webui_*.py, site*.py and batch.py."""

from __future__ import annotations

from typing import Any

from benchmarks.batch import CAMERA_MEGAPIXELS
from benchmarks.tables import conditions, where
from mobilesam.evaluate.report import table

Results = Any  # the JSON files by name: benchmarks.render.Results


def page_latency(results: Results) -> str:
    """Return the time from a click to its painted mask, by the size of the image."""
    rows = []
    for photo in results["webui_latency"]["images"]:
        shown, decoded = photo["click_to_mask_ms"], photo["decode_ms"]
        numbers = [shown["median"], shown["p95"], shown["max"], decoded["median"], photo["encode_ms"]]
        rows.append(
            [f"{photo['width']} x {photo['height']}", *(f"{n:.0f}" for n in numbers), str(len(shown["values"]))]
        )
    head = ["image", "click to mask ms", "95th percentile", "longest", "decode ms", "encode ms", "clicks"]
    return table(head, rows)


def page_load(results: Results) -> str:
    """Return the time until an empty page accepts an image."""
    loads = results["webui_latency"]["page_load_seconds"]
    return f"A page is ready {loads['median']:.1f} s after its address is opened (longest {loads['max']:.1f} s)."


def page_clients(results: Results) -> str:
    """Return the times of many clients at once, and the memory of the server."""
    measured = results["webui_clients"]
    memory = measured["server"]["resident_mb"]
    growth = memory["grows_mb_a_minute_in_second_half"]
    rows = [
        ["clients, seconds", f"{measured['clients']}, {measured['seconds']:.0f}"],
        ["masks, of them wrong", f"{len(measured['predict_ms']['values'])}, {measured['wrong_masks']}"],
        ["errors", str(len(measured["errors"]))],
        ["a mask, median and 95th percentile, ms", _both(measured["predict_ms"])],
        ["an image, median and 95th percentile, ms", _both(measured["encode_ms"])],
        ["memory of the server before, then median of the second half, MB", _memory(memory)],
        ["its growth in the second half, MB a minute", f"{growth:.1f}"],
    ]
    return table(["", ""], rows)


def serve_annotators(results: Results) -> str:
    """Return the times of annotators on one server."""
    measured = results["serve"]
    names = {
        "prefetched": "masks, images prepared in advance",
        "direct": "masks, images not prepared",
        "embeddings": "embeddings, and one decodes here",
    }
    head = ["the annotators request", "a click, median and 95th percentile, ms", "an image, ms", "clicks", "wrong"]
    rows = []
    for name, text in names.items():
        part = measured[name]
        counts = map(str, (part["masks"], part["wrong_masks"], len(part["errors"])))
        memory = f"{part['resident_mb']['max']:.0f}"
        rows.append([text, _both(part["click_ms"]), _both(part["image_ms"]), *counts, memory])
    return table([*head, "errors", "memory of the server, MB"], rows)


def serve_replicas(results: Results) -> str:
    """Return the throughput of replicas, and what was lost when processes were killed or replaced."""
    measured = results["replicas"]
    names = {
        "one": "one replica, one encoder",
        "two": "two replicas, two encoders",
        "killed": "two; a replica, an encoder and the proxy are killed",
        "replaced": "two; all processes are replaced",
    }
    rows = []
    for name, text in names.items():
        part = measured[name]
        throughput = f"{part['images_a_minute']:.0f}", f"{part['clicks_a_second']:.1f}"
        counts = map(str, (part["masks"], part["wrong_masks"], len(part["lost"])))
        rows.append([text, *throughput, _both(part["click_ms"]), *counts])
    head = ["processes", "images a minute", "clicks a second", "a click, median and 95th percentile, ms"]
    return table([*head, "masks", "wrong", "lost"], rows)


def tab_times(results: Results) -> str:
    """Return the times in a browser tab beside those of Python, by the number of threads."""
    rows = []
    for threads in ("1 threads", "2 threads"):
        measured = results["site"][threads]
        parts = {"encode": measured["encode"], "click": measured["click"]}
        for name, times in parts.items():
            tab, python = times["tab"], times["python"]
            p95 = f"{tab['p95']:.0f}"
            rows.append([threads[0], name, *_ratio(tab["median"], python["median"]), p95])
        for mode in ("exact", "balanced", "fast"):
            times = measured[f"everything, {mode}"]
            rows.append([threads[0], f"everything, 16 x 16, {mode}", *_ratio(times["tab"], times["python"]), ""])
    return table(["threads", "", "tab ms", "Python ms", "ratio", "95th percentile in the tab"], rows)


def tab_memory(results: Results) -> str:
    """Return the peak memory of the tab, and the time to load the model."""
    by_threads = [results["site"][threads] for threads in ("1 threads", "2 threads")]
    peaks = [f"{measured['peak_bytes'] / 1e6:.0f} MB" for measured in by_threads]
    loads = [f"{measured['load'] / 1000:.1f} s" for measured in by_threads]
    loaded = f"The model is loaded from this machine in {loads[0]} with one thread and {loads[1]} with two."
    return f"{loaded} The peak memory of the tab is {peaks[0]} and {peaks[1]}."


def tab_parity(results: Results) -> str:
    """Return the IoU of a tab's masks with Python's."""
    kinds = {
        "site_parity": "float32, from PNG",
        "site_parity_jpeg": "float32, from JPEG",
        "site_parity_weights_same": "recipe `weights`, against the same in Python",
        "site_parity_weights": "recipe `weights`, against float32",
    }
    rows = []
    for name, label in kinds.items():
        summary = results[name]["summary"]
        ious = [f"{summary[key]:.5f}" for key in ("least_iou", "median_iou")]
        difference = f"{summary['largest_difference_of_predicted_iou']:.0e}"
        rows.append([label, str(summary["prompts"]), *ious, difference])
    return table(["", "prompts", "lowest IoU", "median IoU", "largest difference of a predicted IoU"], rows)


def tab_beside_users(results: Results) -> str:
    """Return the clicks of a tab beside users of the same server, decoded in the tab and on the server."""
    rows = []
    for place in ("tab", "server"):
        measured = results["webui_hybrid"][place]
        cpu = f"{measured['server_cpu_seconds_an_image']:.2f}"
        count = str(len(measured["click_ms"]["values"]))
        rows.append([place, _both(measured["click_ms"]), count, str(measured["wrong"]), str(measured["images"]), cpu])
    head = ["masks decoded in the", "click to mask ms, median and 95th percentile", "clicks", "wrong"]
    return table([*head, "images of the others", "processor seconds of the server an image"], rows)


def conditions_tab(results: Results) -> str:
    """Return where and on what the tab was measured."""
    return conditions(results["site"], "{machine}, commit {commit}, {versions}")


def _ratio(tab: float, python: float) -> list[str]:
    return [f"{tab:.0f}", f"{python:.0f}", f"{tab / python:.1f}"]


def batch(results: Results) -> str:
    """Return the throughput of a batch against a plain loop."""
    rows = []
    for part, size in (("speed", "as they are"), ("camera", f"of {CAMERA_MEGAPIXELS} megapixels")):
        measured = results["batch"][part]
        rows += [
            [
                f"{measured['images']} {size}",
                row["name"],
                f"{row['images_per_second']:.2f}",
                f"{row['times_plain_loop']:.2f}",
                f"{row['peak_bytes'] / 2**20:.0f}",
                "" if row["last_quarter_to_second"] is None else f"{row['last_quarter_to_second']:.2f}",
                f"{row['done']}, {row['bad']}",
            ]
            for row in measured["result"]
        ]
    head = ["images", "workers x threads", "a second", "times the plain loop", "peak MiB"]
    return table([*head, "memory, last quarter to second", "done, bad"], rows)


def conditions_batch(results: Results) -> str:
    """Return where and on what each part was measured."""
    return "\n".join(f"- {name}: {where(part)}" for name, part in results["batch"].items())


def batch_faults(results: Results) -> str:
    """Return the results of runs that were killed."""
    rows = []
    for part, label in (("resume", "killed, resumed"), ("ray", "on Ray, a worker killed")):
        result = results["batch"][part]["result"]
        same = "the same files, byte for byte" if result["identical"] else "other files"
        rows.append([label, str(result["killed_at"]), f"{result['done']}, {result['bad']}", same])
    return table(["", "killed at image", "done, bad", "against an undisturbed run"], rows)


def _both(times: dict[str, Any]) -> str:
    return f"{times['median']:.0f}, {times['p95']:.0f}"


def _memory(memory: dict[str, Any]) -> str:
    return f"{memory['before']:.0f}, {memory['median_of_second_half']:.0f}"
