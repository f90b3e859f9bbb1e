"""The exercises: every answer is right, every blank is not attempted, every foreseen wrong answer is met with its own message, and the
notebooks run blank and solved. How sharp the checks are is printed by nbs/98_masters.ipynb, which the tests of the notebooks run."""
import json
import os
import random
from collections import Counter

import nbformat
import numpy as np
import pytest
import torch

from collab_nb import checks
from collab_nb.checks import Card, Verdict, _load_all, check, diagnose, hint, passed, progress, progress_file, solution
from collab_nb.masters import learner_notebook
from conftest import ROOT

EXERCISES = _load_all()
MASTERS = sorted((ROOT/'nbs'/'masters').glob('*.ipynb'))
every_exercise = pytest.mark.parametrize('ex', EXERCISES, ids=lambda e: f'{e.chapter}-{e.name}')

def reference(ex): return ex.reference() if ex.is_value else ex.reference
def wrongs(ex): return [(f() if ex.is_value else f, message) for f,message,_ in ex.wrongs]

def assert_right(ex, answer):
    verdict = diagnose(ex, answer)
    assert verdict.state == 'right', repr(verdict)

@pytest.fixture(autouse=True)
def own_progress(tmp_path, monkeypatch):
    monkeypatch.setenv('COLLAB_NB_PROGRESS', str(tmp_path/'progress.json'))
    monkeypatch.setattr(checks, '_session', {})

# Each exercise

@every_exercise
def test_the_answer_is_right(ex):
    assert_right(ex, reference(ex))
    assert ex.source and ex.blank     # what `solution` and the blank notebook show

@every_exercise
def test_a_wrong_answer_in_its_place_would_be_found(ex):
    for answer,_ in wrongs(ex):
        with pytest.raises(AssertionError): assert_right(ex, answer)

@every_exercise
def test_the_blank_is_not_attempted(ex):
    assert diagnose(ex, ...).state == diagnose(ex, None).state == 'not attempted'
    module = __import__(ex.reference.__module__, fromlist=['*'])
    space = dict(vars(module))
    exec(ex.blank, space)
    assert diagnose(ex, space[ex.name]).state == 'not attempted'

@every_exercise
def test_every_wrong_answer_has_its_own_message(ex):
    assert len(ex.wrongs) >= 2
    assert len({m for _,m,_ in ex.wrongs}) == len(ex.wrongs)
    for answer,message in wrongs(ex):
        verdict = diagnose(ex, answer)
        assert verdict.state == 'not yet' and verdict.said[0] == message, repr(verdict)

@every_exercise
def test_what_is_said_can_be_shown(ex):
    for card in (solution(ex.name), *(hint(ex.name) for _ in ex.hints), *(diagnose(ex, a) for a in (..., reference(ex), *(a for a,_ in wrongs(ex))))):
        assert repr(card).startswith(checks._LOOK[card.kind][0]) and card._repr_html_().count('<div') == card._repr_html_().count('</div>')

@every_exercise
def test_the_specification_is_not_the_answer(ex): assert ex._spec is not ex.reference

def test_there_are_enough():
    counts = Counter(e.chapter for e in EXERCISES)
    chapters = {p.stem for p in (ROOT/'nbs').glob('[01]?_*.ipynb') if p.stem < '11'}
    assert set(counts) == chapters | {'bug_hunt'} == {p.stem for p in MASTERS}
    assert all(2 <= counts[c] <= 4 for c in chapters) and sum(counts[c] for c in chapters) >= 25
    assert counts['bug_hunt'] >= 12

# The notebooks

@pytest.mark.parametrize('path', MASTERS, ids=lambda p: p.stem)
def test_the_blank_notebook_is_made_of_its_master(path):
    made = learner_notebook(nbformat.read(path, 4), path.stem)
    there = nbformat.read(path.parents[1]/'exercises'/path.name, 4)
    assert [(c.id, c.source) for c in made.cells] == [(c.id, c.source) for c in there.cells], 'run make prepare'

@pytest.mark.parametrize('path', MASTERS, ids=lambda p: p.stem)
def test_solved_all_is_right_and_blank_nothing(path):
    "As they are stored; that they run so is seen in the tests of the notebooks"
    for folder,state in (('masters', '✔ Right'), ('exercises', '○ Not attempted')):
        cells = [c for c in nbformat.read(path.parents[1]/folder/path.name, 4).cells if c.cell_type == 'code' and c.source.startswith('check(')]
        names = [e.name for e in EXERCISES if e.chapter == path.stem]
        assert len(cells) == len(names)
        for c,name in zip(cells, names): assert c.source.startswith(f"check('{name}', {name})") and c.outputs[-1].data['text/plain'].startswith(f'{state}: {name}'), c.source

# The engine

class TestEngine:
    ex = next((e for e in EXERCISES if not e.is_value and e._cases), None)

    def test_never_raises(self):
        class Odd:
            def __eq__(self, other): raise ValueError('no')
            def __call__(self, *args): return self
        def deep(*args): return deep(*args)
        for answer in (Odd(), deep, 'text', 3, [], {}, object(), lambda: 1/0, lambda *a: np.random.rand(3), int, torch.nn.Module, lambda *a: exec('raise Exception()')):
            assert isinstance(check(self.ex.name, answer), Verdict) and not check(self.ex.name, answer)
        for name in (None, 3, '', self.ex.reference, 'x'*500): assert isinstance(check(name, 3), Card) and isinstance(hint(name), Card) and isinstance(solution(name), Card)
        for n in (0, 99, 'a'): assert isinstance(hint(self.ex.name, n), Card)
        assert 'no chapter' in repr(progress('zz'))

    def test_an_interrupt_gets_through(self):
        def stop(*args): raise KeyboardInterrupt
        with pytest.raises(KeyboardInterrupt): check(self.ex.name, stop)

    def test_leaves_random_numbers_alone(self):
        random.seed(1); np.random.seed(1); torch.manual_seed(1)
        want = random.random(), np.random.rand(), torch.rand(1).item()
        random.seed(1); np.random.seed(1); torch.manual_seed(1)
        check(self.ex.name, lambda *a: torch.rand(3) + np.random.rand(3) + random.random())
        assert (random.random(), np.random.rand(), torch.rand(1).item()) == want

    def test_says_what_was_printed(self):
        def chatty(*args): print('here I am')
        assert repr(check(self.ex.name, chatty)).count('here I am') == 1

class TestProgress:
    ex = TestEngine.ex

    def state(self): return json.loads(progress_file().read_text())['exercises'][self.ex.name]

    def test_survives_a_restart(self, monkeypatch):
        check(self.ex.name, wrongs(self.ex)[0][0])
        hint(self.ex.name)
        monkeypatch.setattr(checks, '_session', {})      # a new process knows nothing
        assert self.state() == {'state': 'not yet', 'tries': 1, 'hints': 1, 'solution': False}
        assert repr(hint(self.ex.name)).splitlines()[1].startswith('2 of') or len(self.ex.hints) == 1
        check(self.ex.name, reference(self.ex))
        assert passed(self.ex.name) and self.state()['state'] == 'right'
        check(self.ex.name, wrongs(self.ex)[0][0])
        assert not passed(self.ex.name) and self.state()['state'] == 'right' and self.state()['tries'] == 3

    def test_a_blank_leaves_no_trace(self):
        check(self.ex.name, ...)
        assert not progress_file().exists()

    @pytest.mark.parametrize('text', [b'', b'{', b'[]', b'{"format": 99, "exercises": {}}', b'{"format": 1, "exercises": {"a": {"state": "great"}}}', b'\xff\xfe'])
    def test_a_broken_file_is_put_aside(self, text):
        for n in (1, 2):
            progress_file().write_bytes(text)
            said = repr(check(self.ex.name, reference(self.ex)))
            assert f'progress.broken-{n}.json' in said
            assert progress_file().with_name(f'progress.broken-{n}.json').read_bytes() == text and self.state()['state'] == 'right'

    @pytest.mark.skipif(not hasattr(os, 'geteuid'), reason='no such rights here')
    def test_where_nothing_can_be_written(self, tmp_path, monkeypatch):
        (tmp_path/'file').write_text('')
        monkeypatch.setenv('COLLAB_NB_PROGRESS', str(tmp_path/'file'/'progress.json'))
        verdict = check(self.ex.name, wrongs(self.ex)[0][0])
        assert verdict.state == 'not yet' and any('cannot be' in s for s in verdict.below)
        assert repr(progress()) and repr(hint(self.ex.name)).count('1 of')
        assert '1 of' not in repr(hint(self.ex.name)).splitlines()[1][:4] or len(self.ex.hints) == 1      # the next hint, from memory

    def test_the_table(self):
        chapter = self.ex.chapter
        assert f'Next: `{self.ex.name}`' in repr(progress(chapter))
        check(self.ex.name, wrongs(self.ex)[0][0])
        assert f'go on with `{self.ex.name}`' in repr(progress()) and '✗ not yet' in repr(progress(chapter)) and '<table>' in progress()._repr_html_()
        for e in EXERCISES:
            if e.chapter == chapter: check(e.name, reference(e))
        n = sum(e.chapter == chapter for e in EXERCISES)
        assert f'{n} of {n}' in repr(progress()) and 'All done' in repr(progress(chapter)) and 'Next: `' in repr(progress())
