"""Put the generated tables between their markers in README.md and docs/: methods, results, defaults, costs, data.

python scripts/write_tables.py            # after a measurement, or after adding a method
python scripts/write_tables.py --check    # exit 1 where a table is not up to date
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import re
import sys
from pathlib import Path

from study_tables import (
    beside_table,
    choices_table,
    claims_table,
    curvature_table,
    figures,
    repeats_table,
    study_table,
    summary_table,
)

from holdfast.bench.catalogue import load
from holdfast.bench.formats import FORMATS
from holdfast.bench.grid import Scope
from holdfast.bench.plan import stored_plan
from holdfast.bench.table import make_table
from holdfast.core.registry import methods
from holdfast.data.named.catalogue import catalogue
from holdfast.data.protocols import PROTOCOLS

ROOT = Path(__file__).parent.parent
DEVICES = {"cpu": "CPU", "cuda": "GPU"}
THEORY = ROOT / "results" / "theory"
FINDINGS = ("rifle-oracle", "shrinkage", "toy-neuron")
VERDICTS = {"holds": "holds", "reversed": "**reversed**", "open": "open"}


def methods_table(card: str) -> str:
    """One line per method: name, what it does, its parameters, its presets."""
    lines = ["| method | what it does | presets |", "|---|---|---|"]
    for stem, cls in methods().items():
        first = (cls.__doc__ or "").strip().splitlines()[0]
        presets = ", ".join(f"`@{p}`" for p in cls.presets)
        lines.append(f"| [`{stem}`]({card}{stem}.md) | {first} | {presets} |")
    return "\n".join(lines)


def overhead_table() -> str:
    """Step time and peak memory relative to plain, for every machine and group of methods that was measured."""
    parts = []
    for file in sorted((ROOT / "results").glob("overhead-*.json")):
        content = json.loads(file.read_text())
        s, machine = content["settings"], content["machine"]
        parts.append(
            f"\n{DEVICES[s['device']]}: {machine['processor']}, torch {machine['torch']}, {s['model']}, "
            f"{s['image_size']} px, batch {s['batch_size']}, {s['threads']} threads, "
            f"precision {s['precision']}, {s['rounds']} pairs.\n"
        )
        parts.append("| method | × plain | 95 % interval | s/step | extra peak memory, MiB |\n|---|---|---|---|---|")
        parts[-1] += "".join(
            f"\n| `{name}` | {r['ratio']:.3f} | {r['low']:.3f} to {r['high']:.3f} | {r['seconds']:.3f} "
            f"| {r['extra_memory_mib']:.0f} |"
            for name, r in content["methods"].items()
        )
    return "\n".join(parts)


def torchjd_table() -> str:
    """Step time of TorchJD's PCGrad beside DTNH's, on the same two losses."""
    content = json.loads((ROOT / "results/torchjd-cpu.json").read_text())
    s, machine = content["settings"], content["machine"]
    lines = [
        f"{DEVICES[s['device']]}: {machine['processor']}, torch {machine['torch']}, TorchJD {machine['torchjd']}, "
        f"{s['model']}, {s['image_size']} px, batch {s['batch_size']}, {s['threads']} threads, {s['rounds']} rounds.\n",
        "| losses and method | × DTNH | 95 % interval | × plain | s/step |\n|---|---|---|---|---|",
    ]
    lines += [
        f"| {name} | {r['times_dtnh']:.2f} | {r['low']:.2f} to {r['high']:.2f} | {r['ratio']:.2f} "
        f"| {r['seconds']:.3f} |"
        for name, r in content["methods"].items()
        if name != "plain"
    ]
    return "\n".join(lines)


def datasets_table() -> str:
    """One line per named split."""
    lines = ["| name | data set | classes | train | val | test | split |", "|---|---|---|---|---|---|---|"]
    for name, entry in catalogue().items():
        counts = " | ".join(str(entry.split.counts.get(part) or "") for part in ("train", "val", "test"))
        home = f"[{entry.manifest.title}]({entry.manifest.home})"
        lines.append(f"| `{name}` | {home} | {entry.classes} | {counts} | {entry.split.origin}: {entry.split.about} |")
    return "\n".join(lines)


def dataset_notes() -> str:
    """What the manifests flag, data set after data set."""
    manifests = {entry.manifest.title: entry.manifest for entry in catalogue().values()}
    return "\n".join(f"- {title}: {note}." for title, m in manifests.items() for note in m.notes)


def protocols_table() -> str:
    """One line per protocol."""
    lines = ["| name | kept | training | testing | ours, where the paper is silent |", "|---|---|---|---|---|"]
    fits = {"shorter": "shorter side {}", "square": "{0}×{0}, aspect lost", "padded": "{0}×{0}, aspect kept, on black"}
    for name, p in PROTOCOLS.items():
        does = ["random place", "mirror"] if p.flip else ["random place"]
        does += ["smoothing"] * bool(p.blur) + ["scale and rotation"] * bool(p.degrees)
        tests = "ten crops" if p.ten_crop else "centre"
        lines.append(f"| `{name}` | {fits[p.fit].format(p.kept)} | {', '.join(does)} | {tests} | {p.ours} |")
    return "\n".join(lines)


def real_images() -> tuple[str, str]:
    """The tables of benchmarks/real_images.py: rates on validation, methods on the test parts."""
    spec = importlib.util.spec_from_file_location("real_images", ROOT / "benchmarks" / "real_images.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["real_images"] = module
    spec.loader.exec_module(module)
    results = ROOT / "results" / "real-images"
    return module.defaults_table(results), module.table(results)


def bench_table(name: str) -> str:
    """The table of a recipe's committed results."""
    recipe = load(name)[1]
    return FORMATS["md"](make_table(stored_plan(recipe, Scope(), ROOT / "results" / name)))


def runner_figures() -> str:
    """What benchmarks/runner.py found."""
    found = json.loads((ROOT / "results/runner.json").read_text())
    one, two = found["crews"]
    share = 100 * found["runner's share of its runs, one worker"]
    return (
        f"On {found['cores']} cores, {one['runs']} runs took {one['wall']:.0f} s with one worker of one thread and "
        f"{two['wall']:.0f} s with two: {found['throughput of two over one']:.2f} times the throughput. One worker "
        f"spent {share:.2f} % of its runs' time beside them. 10 000 planned runs are listed in "
        f"{found['seconds to list 10 000 runs']:.1f} s."
    )


def cache_figures() -> str:
    """What benchmarks/data_cache.py found."""
    found = json.loads((ROOT / "results/data-cache.json").read_text())
    ms = {name: each["ms_per_picture"] for name, each in found["caches"].items()}
    times = {name: each["times_faster_than_decoding"] for name, each in found["caches"].items()}
    return (
        f"Loading a picture takes {ms['off']:.2f} ms where it is decoded in every epoch, {ms['ram']:.2f} ms from "
        f"memory ({times['ram']:.0f} times faster) and {ms['disk']:.2f} ms from the disk cache "
        f"({times['disk']:.0f} times)."
    )


def finding_text(name: str) -> str:
    """What a finding says, its notes, and its figures with their captions."""
    content = json.loads((THEORY / f"{name}.json").read_text())
    parts = [content["text"], "\n".join(f"- {note}" for note in content["notes"])]
    parts += [f"![{f['label']}](../results/theory/{f['png']})\n\n{f['caption']}" for f in content["figures"]]
    return "\n\n".join(parts)


def theory() -> dict[str, str]:
    """The findings of docs/theory.md by marker; one that is not made yet leaves its place as it is."""
    found = {name: finding_text(name) for name in FINDINGS if (THEORY / f"{name}.json").is_file()}
    if "rifle-oracle" in found:
        found["rifle-oracle"] += f"\n\n{readings_table()}"
    return found


def readings_table() -> str:
    """RIFLE's MLP experiment: one line per reading, with the order of error and of each distance."""
    content = json.loads((THEORY / "rifle-oracle.json").read_text())
    costs = list(content["data"]["ground_costs"])
    heads = ["reading", "seeds", "error, L2", "L2 + RIFLE", "difference, 95 % interval", "p, Holm", "its order", *costs]
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for each in content["data"]["readings"]:
        test = each["measures"]["test error"]
        mean, low, high = (test["difference"][name] for name in ("mean", "low", "high"))
        cells = [f"`{each['reading']['name']}`", str(each["seeds"])]
        cells += [f"{test[arm]:.3g} ± {test[f'{arm}_std']:.1g}" for arm in ("l2", "rifle")]
        cells += [f"{mean:+.2g} ({low:+.2g} to {high:+.2g})", f"{test['holm_p']:.1g}"]
        cells += [VERDICTS[each["measures"][name]["verdict"]] for name in ("test error", *costs)]
        lines.append(f"| {' | '.join(cells)} |")
    told = [f"- `{each['reading']['name']}`: {each['reading']['about']}." for each in content["data"]["readings"]]
    return "\n".join([*lines, "", "The readings:", "", *told])


def replaced(text: str, marker: str, content: str) -> str:
    """The text with the part between ``<!-- marker:begin -->`` and ``<!-- marker:end -->`` replaced."""
    pattern = re.compile(rf"(<!-- {marker}:begin -->\n).*?(<!-- {marker}:end -->)", re.DOTALL)
    return pattern.sub(lambda found: f"{found[1]}{content}\n{found[2]}", text)


def main() -> None:
    """Write or check."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    check = parser.parse_args().check
    defaults, real = real_images()
    tables = {
        "README.md": {
            "methods": methods_table("docs/methods/"),
            "study": summary_table(
                ROOT / "results" / "study-mini",
                {"flowers17_5/imagenet": "flowers17, 5 a class", "clothing_10/imagenet": "clothing, 10 a class"},
            ),
        },
        "docs/overhead.md": {"overhead": overhead_table(), "torchjd": torchjd_table()},
        "docs/defaults.md": {"defaults": defaults, "real": real},
        "docs/theory.md": theory(),
        "docs/datasets.md": {
            "datasets": datasets_table(),
            "dataset-notes": dataset_notes(),
            "protocols": protocols_table(),
            "cache": cache_figures(),
        },
        "docs/study.md": {
            "study": study_table(ROOT / "results" / "study-mini"),
            "beside": beside_table(ROOT / "results" / "study-mini"),
            "same-rates-beside": beside_table(ROOT / "results" / "same-rates"),
            "choices": choices_table(ROOT / "results" / "study-mini"),
            "ptr-latch": bench_table("ptr-latch"),
            "same-rates": bench_table("same-rates"),
            "curvature": curvature_table(ROOT / "results" / "curvature.json"),
            "repeated": repeats_table(*(ROOT / "results" / f"study-repeated{end}.json" for end in ("", "-again"))),
            "figures": figures(ROOT / "docs" / "study"),
            "claims": claims_table(),
        },
        "docs/recipes.md": {"flowers17-mini": bench_table("flowers17-mini"), "runner": runner_figures()},
    }
    stale = []
    for name, parts in tables.items():
        file = ROOT / name
        before = after = file.read_text(encoding="utf-8")
        for marker, content in parts.items():
            after = replaced(after, marker, content)
        if before != after:
            stale.append(name)
            if not check:
                file.write_text(after, encoding="utf-8")
    if stale:
        print(f"{'not up to date' if check else 'written'}: {', '.join(stale)}")
    raise SystemExit(1 if stale and check else 0)


if __name__ == "__main__":
    main()
