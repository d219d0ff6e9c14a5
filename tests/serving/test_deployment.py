"""A deployment: changes are kept, and a new model serves without a query that notices."""

from __future__ import annotations

import copy
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sigah import ITQ, LSH, HammingIndex, KeyedIndex, KeyedVectorIndex, VectorIndex
from sigah.files import FileFormatError
from sigah.serving import Deployment
from sigah.serving.changes import HEAD, ChangeLog
from sigah.serving.generation import Generation
from sigah.serving.manifest import MANIFEST, Manifest

N, D = 400, 16
VECTORS = np.random.default_rng(0).normal(size=(N + 200, D)).astype(np.float32)
BASE, MORE = VECTORS[:N], VECTORS[N:]
NAMES = [f"doc/{row}" for row in range(N)]
OLD = ITQ(n_bits=16, random_state=0).fit(BASE)
NEW = LSH(n_bits=64, random_state=1).fit(BASE)


def keyed(folder: Path) -> Deployment:
    index = KeyedIndex.of(OLD)
    index.add(OLD.transform(BASE), NAMES)
    return Deployment.create(folder / "served", index, OLD)


def fresh(model: Any, content: dict[str, Any]) -> KeyedIndex:
    """The index that a deployment must be equal to: name to vector, in one go."""
    index = KeyedIndex.of(model)
    index.add(model.transform(np.array(list(content.values()))), list(content))
    return index


def same_answers(deployment: Deployment, model: Any, content: dict[str, Any]) -> None:
    """All keys, with the codes of the model; and neighbours at the right distances."""
    serving = deployment.current()
    assert serving.model.fingerprint == model.fingerprint
    wanted = fresh(model, content)
    assert sorted(serving.index.keys) == sorted(content)
    keys = sorted(content)
    assert (serving.index.get(keys) == wanted.get(keys)).all()
    found = deployment.search(MORE[-20:], 10)
    assert (found[0] == wanted.search(model.transform(MORE[-20:]), 10)[0]).all()


def content_of_base() -> dict[str, Any]:
    return dict(zip(NAMES, BASE, strict=True))


def change_much(deployment: Deployment, content: dict[str, Any], at: int) -> None:
    """One change of each kind, also in ``content``."""
    deployment.add(MORE[at : at + 2], [f"new/{at}", f"new/{at + 1}"])
    content |= {f"new/{at}": MORE[at], f"new/{at + 1}": MORE[at + 1]}
    deployment.update(MORE[at + 2 : at + 3], [f"doc/{at}"])
    content[f"doc/{at}"] = MORE[at + 2]
    deployment.upsert(MORE[at + 3 : at + 5], [f"doc/{at + 1}", f"more/{at}"])
    content |= {f"doc/{at + 1}": MORE[at + 3], f"more/{at}": MORE[at + 4]}
    gone = [f"doc/{at + 2}", f"new/{at}"]
    deployment.remove(gone)
    for key in gone:
        del content[key]


def test_changes_are_those_of_an_index_and_survive_without_a_save(tmp_path: Path) -> None:
    deployment, content = keyed(tmp_path), content_of_base()
    change_much(deployment, content, 0)
    same_answers(deployment, OLD, content)
    same_answers(Deployment(tmp_path / "served"), OLD, content)


def test_a_save_keeps_everything_and_empties_the_log(tmp_path: Path) -> None:
    deployment, content = keyed(tmp_path), content_of_base()
    other = Deployment(tmp_path / "served")
    change_much(deployment, content, 0)
    assert deployment.stats()["change_bytes"] > 0
    deployment.save()
    assert deployment.stats()["change_bytes"] == 0
    change_much(deployment, content, 10)
    for one in (deployment, other, Deployment(tmp_path / "served")):
        same_answers(one, OLD, content)


def test_a_process_that_slept_through_two_saves_has_all_changes(tmp_path: Path) -> None:
    deployment, content = keyed(tmp_path), content_of_base()
    sleeper = Deployment(tmp_path / "served")
    for at in (0, 10, 20):
        change_much(deployment, content, at)
        deployment.save()
    same_answers(sleeper, OLD, content)


def test_two_writers_see_each_other(tmp_path: Path) -> None:
    one, content = keyed(tmp_path), content_of_base()
    other = Deployment(tmp_path / "served")
    change_much(one, content, 0)
    change_much(other, content, 10)
    with pytest.raises(ValueError, match="'new/1' is in the index already"):
        other.add(MORE[:1], ["new/1"])
    for deployment in (one, other):
        same_answers(deployment, OLD, content)


def during_encoding(monkeypatch: pytest.MonkeyPatch, act: Callable[[], None]) -> None:
    """Act when the vectors are encoded and the new index is not built yet."""
    from sigah.serving import reencoding

    true = reencoding.encode

    def encode(*words: Any, **options: Any) -> Any:
        done = true(*words, **options)
        act()
        return done

    monkeypatch.setattr(reencoding, "encode", encode)


def test_changes_before_during_and_after_a_re_encoding_are_in_both_generations(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deployment, content = keyed(tmp_path), content_of_base()
    other = Deployment(tmp_path / "served")
    change_much(deployment, content, 0)
    during_encoding(monkeypatch, lambda: change_much(other, content, 10))
    deployment.reencode(NEW, BASE, NAMES)
    same_answers(deployment, OLD, content)  # until the switch
    change_much(other, content, 20)
    deployment.switch()
    same_answers(deployment, NEW, content)
    change_much(deployment, content, 30)
    deployment.save()
    change_much(deployment, content, 40)
    deployment.back()
    same_answers(deployment, OLD, content)
    change_much(deployment, content, 50)
    deployment.back()
    for one in (deployment, Deployment(tmp_path / "served")):
        same_answers(one, NEW, content)
    deployment.forget()
    names = sorted(file.name for file in (tmp_path / "served").iterdir())
    assert names == ["2.changes", "2.index", "2.model", MANIFEST, "lock", "lock.turn"]
    same_answers(Deployment(tmp_path / "served"), NEW, content)


def test_a_save_during_the_encoding_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deployment, content = keyed(tmp_path), content_of_base()
    change_much(deployment, content, 0)
    during_encoding(monkeypatch, lambda: (change_much(deployment, content, 10), deployment.save()))
    deployment.reencode(NEW, BASE, NAMES)
    deployment.save()
    deployment.switch()
    same_answers(deployment, NEW, content)
    same_answers(Deployment(tmp_path / "served"), NEW, content)


def test_another_process_follows_by_itself(tmp_path: Path) -> None:
    deployment, content = keyed(tmp_path), content_of_base()
    other = Deployment(tmp_path / "served")
    deployment.reencode(NEW, BASE, NAMES)
    deployment.switch()
    change_much(deployment, content, 0)
    assert other.current().model.fingerprint in (OLD.fingerprint, NEW.fingerprint)
    other._wait()
    same_answers(other, NEW, content)


class Interrupted(LSH):
    """Stops, as Ctrl-C would, after some blocks."""

    name = "lsh"
    left = 1
    encoded = 0

    def _codes(self, block: Any) -> Any:
        Interrupted.encoded += len(block)
        if Interrupted.left == 0:
            raise KeyboardInterrupt
        Interrupted.left -= 1
        return super()._codes(block)


def test_an_interrupted_re_encoding_resumes_and_keeps_changes_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sigah.rows import blocks
    from sigah.streams import encoding

    monkeypatch.setattr(blocks, "BLOCK_BYTES", 64 * D * 4)  # 64 rows
    monkeypatch.setattr(encoding, "available_threads", lambda: 1)
    deployment, content = keyed(tmp_path), content_of_base()
    file = tmp_path / "base.npy"
    np.save(file, BASE)
    rows = np.load(file, mmap_mode="r")
    model = Interrupted(n_bits=64, random_state=1).fit(BASE)
    Interrupted.left, Interrupted.encoded = 4, 0
    with pytest.raises(KeyboardInterrupt):
        deployment.reencode(model, rows, NAMES)
    with pytest.raises(ValueError, match="reencode is not finished; call it again"):
        deployment.switch()
    change_much(deployment, content, 0)
    deployment.save()
    change_much(deployment, content, 10)
    Interrupted.left, Interrupted.encoded = 10**9, 0
    again = Deployment(tmp_path / "served")
    again.reencode(model, rows, NAMES)
    meanwhile = 1 + 10  # one row is encoded as a check, ten are changes
    assert 0 < Interrupted.encoded - meanwhile <= N - 3 * 64
    again.switch()
    same_answers(again, model, content)


def test_an_interruption_after_the_encoding_encodes_nothing_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deployment, content = keyed(tmp_path), content_of_base()

    def stop() -> None:
        raise KeyboardInterrupt

    during_encoding(monkeypatch, stop)
    with pytest.raises(KeyboardInterrupt):
        deployment.reencode(NEW, BASE, NAMES)
    deployment.reencode(NEW, BASE, NAMES)  # would stop again if it encoded
    deployment.switch()
    same_answers(deployment, NEW, content)


def test_other_vectors_or_another_model_begin_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deployment, content = keyed(tmp_path), content_of_base()

    def stop() -> None:
        monkeypatch.undo()
        raise KeyboardInterrupt

    during_encoding(monkeypatch, stop)
    with pytest.raises(KeyboardInterrupt):
        deployment.reencode(LSH(n_bits=64, random_state=5).fit(BASE), BASE, NAMES)
    deployment.reencode(NEW, BASE[::-1], NAMES[::-1])
    deployment.switch()
    same_answers(deployment, NEW, content)


def test_another_model_after_an_interrupted_one_leaves_nothing_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The interrupted generation was on the disk already, model and index."""
    deployment = keyed(tmp_path)
    save = Generation.save

    def interrupted(self: Generation, folder: Path) -> None:
        save(self, folder)
        raise KeyboardInterrupt

    monkeypatch.setattr(Generation, "save", interrupted)
    with pytest.raises(KeyboardInterrupt):
        deployment.reencode(OLD, BASE, NAMES)
    monkeypatch.undo()
    deployment.reencode(NEW, BASE, NAMES)
    deployment.switch()
    same_answers(Deployment(tmp_path / "served"), NEW, content_of_base())
    files = {path.name for path in (tmp_path / "served").iterdir()}
    assert {name for name in files if name.endswith(".model")} == {"1.model", "3.model"}


def test_vectors_that_lack_ids_are_refused_before_they_are_encoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deployment, content = keyed(tmp_path), content_of_base()
    deployment.upsert(MORE[:1], ["doc/9"])
    content["doc/9"] = MORE[0]
    during_encoding(monkeypatch, lambda: pytest.fail("it is encoded"))
    with pytest.raises(ValueError, match="of 390 ids of the index are missing, such as 'doc/10'"):
        deployment.reencode(OLD, BASE[:9], NAMES[:9])
    assert not deployment.stats()["encoding"]
    monkeypatch.undo()
    deployment.remove(NAMES[10:])
    deployment.reencode(NEW, BASE[:9], NAMES[:9])  # the log has doc/9
    deployment.switch()
    same_answers(deployment, NEW, {key: content[key] for key in NAMES[:10]})


def test_a_process_may_change_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    keyed(Path())
    deployment = Deployment("served")
    monkeypatch.chdir("/")
    deployment.remove(["doc/0"])
    assert len(deployment) == N - 1


def test_queries_in_threads_never_fail_and_never_mix_two_models(tmp_path: Path) -> None:
    """While models are switched to and fro and the index changes, each answer is one model's."""
    deployment = keyed(tmp_path)
    follower = Deployment(tmp_path / "served")
    codes = {m.fingerprint: (m.transform(BASE), m.transform(MORE)) for m in (OLD, NEW)}
    stop, failures = threading.Event(), []
    seen: set[str] = set()

    def ask(served: Deployment, seed: int) -> None:
        rng = np.random.default_rng(seed)
        try:
            while not stop.is_set():
                row = int(rng.integers(len(MORE)))
                serving = served.current()
                base, queries = codes[serving.model.fingerprint]
                seen.add(serving.model.fingerprint)
                distances, keys = serving.search(MORE[row : row + 1], 5)
                for distance, key in zip(distances[0].tolist(), keys[0].tolist(), strict=True):
                    place = int(key.partition("/")[2])
                    code = (base if key.startswith("doc/") else codes_of_new(serving))[place]
                    assert distance == np.bitwise_count(code ^ queries[row]).sum(), key
                # the shorter way, in one call
                distances, keys = served.search(MORE[row : row + 1], 1)
                assert keys[0, 0] != ""
        except BaseException as error:
            failures.append(error)

    def codes_of_new(serving: Any) -> Any:
        return codes[serving.model.fingerprint][1]

    def write() -> None:
        try:
            for turn in range(10**6):
                if stop.is_set():
                    return
                row = turn % len(MORE)
                follower.upsert(MORE[row : row + 1], [f"new/{row}"])
                follower.remove([f"new/{row}"])
        except BaseException as error:
            failures.append(error)

    threads = [
        threading.Thread(target=ask, args=(served, seed))
        for seed, served in enumerate((deployment, deployment, follower, follower))
    ]
    threads.append(threading.Thread(target=write))
    for thread in threads:
        thread.start()
    try:
        deployment.reencode(NEW, BASE, NAMES)
        deployment.switch()
        for turn in range(4):
            deployment.back()
            if turn == 1:
                deployment.save()
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert not failures, failures[0]
    assert seen == {OLD.fingerprint, NEW.fingerprint}
    follower._wait()
    for served in (deployment, follower, Deployment(tmp_path / "served")):
        same_answers(served, NEW, content_of_base())


def test_vectors_with_keys_roll_over_and_back(tmp_path: Path) -> None:
    first = KeyedVectorIndex.build(BASE, NAMES, 8, metric="l2", random_state=0)
    served, content = Deployment.create(tmp_path / "served", first), content_of_base()
    change_much(served, content, 0)
    model = KeyedVectorIndex.build(BASE[:200], NAMES[:200], 12, metric="l2", random_state=1)
    served.reencode(model, BASE, NAMES)
    change_much(served, content, 10)
    for turn, of in ((served.switch, model.index), (served.back, first.index)):
        turn()
        change_much(served, content, 20 + 10 * (of is first.index))
        served.save()
        wanted = VectorIndex.of(of)
        wanted.add(np.array(list(content.values())))
        expected = wanted.search(MORE[-20:], 10)[0]
        for one in (served, Deployment(tmp_path / "served")):
            np.testing.assert_array_equal(one.search(MORE[-20:], 10)[0], expected)
            assert sorted(one.current().index.keys) == sorted(content)
            assert one.stats()["kind"] == "keyed vectors"


def test_numbers_and_vectors_roll_over_too(tmp_path: Path) -> None:
    index = HammingIndex.of(OLD)
    index.add(OLD.transform(BASE))
    numbers = Deployment.create(tmp_path / "numbers", index, OLD)
    vectors = Deployment.create(
        tmp_path / "vectors", VectorIndex.build(BASE, 8, metric="l2", random_state=0)
    )
    with pytest.raises(ValueError, match="1e\\+15"):
        vectors.upsert(np.full((1, D), 1e16), [9])  # a log must not hold what cannot be encoded
    model = VectorIndex.build(BASE[:200], 12, metric="l2", random_state=1)
    for deployment, new in ((numbers, NEW), (vectors, model)):
        deployment.upsert(MORE[:3], [3, 1000, 1001])
        deployment.remove([4])
        deployment.reencode(new, BASE)
        deployment.update(MORE[3:4], [1000])
        deployment.switch()
        held = np.r_[np.delete(np.arange(N), 4), 1000, 1001]
        assert (deployment.current().index.ids == held).all()
        current = np.concatenate([BASE, MORE[:3]])[np.r_[0:3, N, 5:N, 0, N + 2]]
        current[-2] = MORE[3]
        distances, ids = deployment.search(MORE[3:5], 10)
        if deployment is numbers:
            wanted = HammingIndex.of(NEW)
            wanted.add(NEW.transform(current), held)
            expected = wanted.search(NEW.transform(MORE[3:5]), 10)
        else:
            assert deployment.current().index.n_bytes == 12
            template = copy.copy(model)
            template.remove(template.ids)
            template.add(current, held)
            expected = template.search(MORE[3:5], 10)
        assert (ids == expected[1]).all() and (distances == expected[0]).all()
        deployment.back()
        assert (deployment.current().index.ids == held).all()


def test_a_column_of_a_file_has_the_keys(tmp_path: Path) -> None:
    import pyarrow
    import pyarrow.parquet

    from sigah.rows import open_vectors

    column = pyarrow.FixedSizeListArray.from_arrays(BASE.ravel(), D)
    table = pyarrow.table({"name": NAMES, "vector": column})
    pyarrow.parquet.write_table(table, tmp_path / "docs.parquet")
    deployment = keyed(tmp_path)
    deployment.reencode(NEW, open_vectors(str(tmp_path / "docs.parquet")), "name")
    deployment.switch()
    same_answers(deployment, NEW, content_of_base())


WIDE = LSH(n_bits=64, random_state=1).fit(np.zeros((9, D + 1)) + np.arange(9)[:, None])
NAN = np.full((1, D), np.nan)
REFUSED: dict[str, Callable[[Deployment], object]] = {
    "no new generation is ready: reencode makes one": lambda d: d.switch(),
    "no earlier generation": lambda d: d.back(),
    "'doc/1' is in the index already": lambda d: d.add(MORE[:1], ["doc/1"]),
    "'x' is not in the index": lambda d: d.remove(["doc/1", "x"]),
    "'y' is not in the index": lambda d: d.update(MORE[:1], ["y"]),
    "'z' is given twice": lambda d: d.upsert(MORE[:2], ["z", "z"]),
    "keys must be strings": lambda d: d.upsert(MORE[:1], [7]),
    r"keys must have shape \(2,\)": lambda d: d.upsert(MORE[:2], ["z"]),
    "vectors have 3 dimensions": lambda d: d.upsert(MORE[:1, :3], ["z"]),
    "NaN": lambda d: d.upsert(NAN, ["z"]),
    "model was fitted on 17 dimensions": lambda d: d.reencode(WIDE, BASE, NAMES),
    "model must be a fitted hasher": lambda d: d.reencode("itq", BASE, NAMES),
    "vectors must be rows, not batches": lambda d: d.reencode(NEW, iter([BASE]), NAMES),
    "the index has keys": lambda d: d.reencode(NEW, BASE),
    "vectors: those of 10 ids of the index are missing, such as 'doc/390'": lambda d: d.reencode(
        NEW, BASE[:-10], NAMES[:-10]
    ),
}


@pytest.mark.parametrize("reason", list(REFUSED))
def test_what_is_refused_leaves_all_as_it_was(tmp_path: Path, reason: str) -> None:
    deployment = keyed(tmp_path)
    with pytest.raises(ValueError, match=reason):
        REFUSED[reason](deployment)
    same_answers(deployment, OLD, content_of_base())
    deployment.forget()
    same_answers(Deployment(tmp_path / "served"), OLD, content_of_base())


def test_an_incomplete_record_is_overwritten_and_a_damaged_one_is_told(tmp_path: Path) -> None:
    deployment, content = keyed(tmp_path), content_of_base()
    change_much(deployment, content, 0)
    log = tmp_path / "served" / "1.changes"
    whole = log.read_bytes()
    (*_, last) = ChangeLog(log).read(ChangeLog.start)
    begins = [ChangeLog.start, *(one.end for one in ChangeLog(log).read(ChangeLog.start))][-2]
    for tail in (whole[begins : begins + 5], whole[begins:-1], bytes(40), whole[begins:-1] + b"?"):
        log.write_bytes(whole + tail)  # as a killed writer or a power cut leaves it
        other = Deployment(tmp_path / "served")
        same_answers(other, OLD, content)
        other.upsert(MORE[:1], ["doc/0"])
        same_answers(Deployment(tmp_path / "served"), OLD, content | {"doc/0": MORE[0]})
    assert last.end == len(whole)
    damaged = bytearray(whole)
    damaged[ChangeLog.start + HEAD.size + 40] ^= 1
    log.write_bytes(damaged)
    with pytest.raises(FileFormatError, match=r"1\.changes: its record at byte 16 is damaged"):
        Deployment(tmp_path / "served")


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", '{"format": "sigah deployment 2"}', '{"format": "sigah deployment 1"}']
)
def test_a_damaged_manifest_is_told(tmp_path: Path, text: str) -> None:
    keyed(tmp_path)
    (tmp_path / "served" / MANIFEST).write_text(text)
    with pytest.raises(FileFormatError, match=MANIFEST):
        Deployment(tmp_path / "served")


def test_a_folder_is_made_once_and_of_one_model(tmp_path: Path) -> None:
    keyed(tmp_path)
    index = KeyedIndex.of(OLD)
    with pytest.raises(FileExistsError, match="exists already"):
        Deployment.create(tmp_path / "served", index, OLD)
    with pytest.raises(ValueError, match="model makes 64 bits, but the index has 16"):
        Deployment.create(tmp_path / "other", index, NEW)
    with pytest.raises(ValueError, match="another model"):
        Deployment.create(tmp_path / "other", index, ITQ(n_bits=16, random_state=9).fit(MORE))
    with pytest.raises(FileNotFoundError, match="there is no deployment"):
        Deployment(tmp_path)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["served"]


def test_what_cannot_be_loaded_leaves_the_old_generation_serving(tmp_path: Path) -> None:
    deployment = keyed(tmp_path)
    deployment.reencode(NEW, BASE, NAMES)
    file = tmp_path / "served" / "2.index"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    with pytest.raises(FileFormatError):
        deployment.switch()
    assert deployment.search(MORE[:1], 1)[1][0, 0] in NAMES
    assert "2.index" in deployment.stats()["failure"]
    deployment.back()
    assert deployment.stats()["failure"] is None
    same_answers(deployment, OLD, content_of_base())


def test_back_does_not_hear_of_what_failed_before_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deployment, gone_back = keyed(tmp_path), threading.Event()
    deployment.reencode(NEW, BASE, NAMES)

    def fail_after_back(generation: Generation) -> None:
        if generation.number == 2:
            assert gone_back.wait(20)
            raise FileFormatError("cannot open 2.index")

    replace = Deployment._replace

    def tell(self: Deployment, manifest: Manifest) -> None:
        replace(self, manifest)
        if manifest.current.number == 1:
            gone_back.set()

    monkeypatch.setattr(Generation, "warm_up", fail_after_back)
    monkeypatch.setattr(Deployment, "_replace", tell)
    switching = threading.Thread(target=deployment.switch)
    switching.start()
    while deployment._manifest.current.number == 1:
        time.sleep(0.001)
    deployment.back()  # it waits for the loader of generation 2
    switching.join()
    assert deployment.stats()["failure"] is None
    same_answers(deployment, OLD, content_of_base())
