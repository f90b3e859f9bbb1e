"""The exercises: every answer is right, every blank is not attempted, and a foreseen wrong answer gets its own message.

How sharp the checks are, a mutation run tells: `make test-full` breaks each answer in every small way."""
import json
import random
import sys
from collections import Counter
from functools import cache
from pathlib import Path

import nbformat
import numpy as np
import pytest
import torch

from collab_nb.checks import LOOKS, Card, Verdict, all_exercises, check, diagnose, find_exercise
from collab_nb.checks import hint, passed, progress, progress_file, solution
from collab_nb.tools.chapters import read_chapters
from collab_nb.tools.masters import learner_notebook, mutation_run
from conftest import ROOT

EXERCISES = all_exercises()
MASTERS = sorted((ROOT/'nbs'/'masters').glob('*.ipynb'))
every_exercise = pytest.mark.parametrize('ex', EXERCISES, ids=lambda e: f'{e.chapter}-{e.name}')
every_master = pytest.mark.parametrize('path', MASTERS, ids=lambda p: p.stem)

def reference(ex): return ex.reference() if ex.is_value else ex.reference
def wrong(ex, i): return ex.wrongs[i][0]() if ex.is_value else ex.wrongs[i][0]

@cache
def told_right(name):
    "What is said to the answer; asked once for all the tests of an exercise"
    ex = find_exercise(name)
    return diagnose(ex, reference(ex))

@cache
def told_wrong(name):
    "What is said to each foreseen wrong answer"
    ex = find_exercise(name)
    return [diagnose(ex, wrong(ex, i)) for i in range(len(ex.wrongs))]

@pytest.fixture(autouse=True)
def own_progress(tmp_path, monkeypatch):
    monkeypatch.setenv('COLLAB_NB_PROGRESS', str(tmp_path/'progress.json'))

# Each exercise

@every_exercise
def test_the_answer_is_right(ex):
    right = told_right(ex.name)
    assert right.state == 'right', repr(right)
    assert ex.specification is not ex.reference

@every_exercise
def test_the_blank_is_not_attempted(ex):
    assert diagnose(ex, ...).state == diagnose(ex, None).state == 'not attempted'
    space = dict(vars(sys.modules[ex.reference.__module__]))
    exec(ex.blank, space)
    assert diagnose(ex, space[ex.name]).state == 'not attempted'

@every_exercise
def test_every_wrong_answer_has_its_own_message(ex):
    messages = [message for _,message,_ in ex.wrongs]
    assert len(set(messages)) == len(messages) >= 2
    for verdict,message in zip(told_wrong(ex.name), messages, strict=True):
        assert verdict.state == 'not yet' and verdict.said[0] == message, repr(verdict)

@every_exercise
def test_what_is_said_can_be_shown(ex):
    right,wrongs = told_right(ex.name),told_wrong(ex.name)
    for card in (solution(ex.name), *(hint(ex.name) for _ in ex.hints), diagnose(ex, ...), right, wrongs[0]):
        page = card._repr_html_()
        assert repr(card).startswith(LOOKS[card.kind][0]) and page.count('<div') == page.count('</div>')
    drawn = next((v for v in wrongs if v.picture), None)
    assert not ex.picture or 'src="data:image/png;base64,' in drawn._repr_html_()

@pytest.mark.full
def test_nearly_every_mutant_is_caught():
    fates = Counter(mutation_run().fate)
    assert fates['caught'] >= .9*(fates['caught'] + fates['survived'])

def test_there_are_enough():
    counts = Counter(e.chapter for e in EXERCISES)
    chapters = {Path(r['notebook']).name for r in read_chapters(ROOT/'nbs') if r['exercises']}
    assert set(counts) == chapters | {'bug_hunt'} == {p.stem for p in MASTERS}
    assert all(2 <= counts[c] <= 4 for c in chapters) and sum(counts[c] for c in chapters) >= 25
    assert counts['bug_hunt'] >= 12

# The notebooks

def stored(path, folder): return nbformat.read(path.parents[1]/folder/path.name, 4)

@every_master
def test_the_blank_notebook_is_made_of_its_master(path):
    made,there = learner_notebook(nbformat.read(path, 4), path.stem),stored(path, 'exercises')
    assert [(c.id, c.source) for c in made.cells] == [(c.id, c.source) for c in there.cells], 'run make prepare'

@every_master
@pytest.mark.parametrize('folder, state', [('masters', '✔ Right'), ('exercises', '○ Not attempted')])
def test_solved_all_is_right_and_blank_nothing(path, folder, state):
    "As they are stored; that they run so is seen in the tests of the notebooks"
    names = [e.name for e in EXERCISES if e.chapter == path.stem]
    cells = [c for c in stored(path, folder).cells if c.cell_type == 'code' and c.source.startswith('check(')]
    for c,name in zip(cells, names, strict=True):
        assert c.source.startswith(f"check('{name}', {name})")
        assert c.outputs[-1].data['text/plain'].startswith(f'{state}: {name}'), c.source

# The engine

EX = next(e for e in EXERCISES if not e.is_value and e.make_case and len(e.hints) > 1)     # any will do

class Odd:
    def __eq__(self, other): raise ValueError('no')
    def __call__(self, *args): return self

def deep(*args): return deep(*args)

class TestEngine:
    @pytest.mark.parametrize('answer', [
        Odd(), deep, 'text', 3, [], {}, object(), lambda: 1/0, lambda *a: np.random.rand(3), int, torch.nn.Module,
        lambda *a: exec('raise Exception()')], ids=lambda o: type(o).__name__)
    def test_never_raises(self, answer):
        verdict = check(EX.name, answer)
        assert isinstance(verdict, Verdict) and not verdict

    @pytest.mark.parametrize('name', [None, 3, '', EX.reference, 'x'*500], ids=lambda o: str(o)[:9])
    def test_a_name_that_is_none(self, name):
        for said in (check(name, 3), hint(name), solution(name)): assert isinstance(said, Card) and said.said

    def test_a_number_that_is_none(self):
        for n in (0, 99, 'a'): assert f'got {n!r}' in hint(EX.name, n).said[0]
        assert 'no chapter' in repr(progress('zz'))

    def test_an_interrupt_gets_through(self):
        def stop(*args): raise KeyboardInterrupt
        with pytest.raises(KeyboardInterrupt): check(EX.name, stop)

    def test_leaves_random_numbers_alone(self):
        def seed():
            for f in (random.seed, np.random.seed, torch.manual_seed): f(1)
        def draw(): return random.random(), np.random.rand(), torch.rand(1).item()
        seed()
        want = draw()
        seed()
        check(EX.name, lambda *a: torch.rand(3) + np.random.rand(3) + random.random())
        assert draw() == want

    def test_says_what_was_printed(self):
        def chatty(*args): print('here I am')
        assert repr(check(EX.name, chatty)).count('here I am') == 1

class TestProgress:
    def state(self): return json.loads(progress_file().read_text())['exercises'][EX.name]

    def test_survives_a_restart(self, tmp_path, monkeypatch):
        check(EX.name, wrong(EX, 0))
        hint(EX.name)
        moved = progress_file().rename(tmp_path/'moved.json')     # a file of which this process knows nothing
        monkeypatch.setenv('COLLAB_NB_PROGRESS', str(moved))
        assert self.state() == {'state': 'not yet', 'tries': 1, 'hints': 1, 'solution': False}
        assert hint(EX.name).said[0].startswith('2 of')
        check(EX.name, reference(EX))
        assert passed(EX.name) and self.state()['state'] == 'right'
        check(EX.name, wrong(EX, 0))
        assert not passed(EX.name) and self.state()['state'] == 'right' and self.state()['tries'] == 3

    def test_a_blank_leaves_no_trace(self):
        check(EX.name, ...)
        assert not progress_file().exists()

    @pytest.mark.parametrize('text', [
        b'', b'{', b'[]', b'{"format": 99, "exercises": {}}', b'{"format": 1, "exercises": {"a": {"state": "great"}}}',
        b'\xff\xfe'])
    def test_a_broken_file_is_put_aside(self, text):
        for n in (1, 2):
            progress_file().write_bytes(text)
            assert f'progress.broken-{n}.json' in repr(hint(EX.name))
            aside = progress_file().with_name(f'progress.broken-{n}.json')
            assert aside.read_bytes() == text and self.state()['hints'] == n

    def test_where_nothing_can_be_written(self, tmp_path, monkeypatch):
        (tmp_path/'file').write_text('')
        monkeypatch.setenv('COLLAB_NB_PROGRESS', str(tmp_path/'file'/'progress.json'))
        verdict = check(EX.name, wrong(EX, 0))
        assert verdict.state == 'not yet' and any('cannot be' in s for s in verdict.below)
        for n in (1, 2): assert hint(EX.name).said[0].startswith(f'{n} of')     # the second from memory
        assert f'`{EX.name}`' in repr(progress(EX.chapter))

    def test_the_table(self):
        assert f'Next: `{EX.name}`' in repr(progress(EX.chapter))
        check(EX.name, wrong(EX, 0))
        assert f'go on with `{EX.name}`' in repr(progress()) and '<table>' in progress()._repr_html_()
        assert '✗ not yet' in repr(progress(EX.chapter))
        mine = [e for e in EXERCISES if e.chapter == EX.chapter]
        for e in mine: check(e.name, reference(e))
        assert f'{len(mine)} of {len(mine)}' in repr(progress()) and 'Next: `' in repr(progress())
        assert 'All done' in repr(progress(EX.chapter))
