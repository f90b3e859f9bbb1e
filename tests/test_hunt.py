"""The bug hunt shows the whole notebook and names nothing before the marks. Every fault can be found and is repaired.
The score says what was found, missed, and accused, and doesn't tell which cells were missed."""
import re

import nbformat
import pytest

from collab_nb.checks import all_exercises, check, diagnose, find_exercise, judge_marks, read_original, score_marks
from collab_nb.checks.exercise import replaced
from collab_nb.exercises import bug_hunt as hunt
from conftest import ROOT

FAULTS,INNOCENT,SAME = hunt.marks,hunt._INNOCENT,{13: 12, 16: 15, 25: 26}
PAGE = nbformat.read(ROOT/'nbs'/'exercises'/'bug_hunt.ipynb', as_version=4).cells
MARKS = next(i for i,c in enumerate(PAGE) if c.source.startswith("check('marks'"))

@pytest.fixture(autouse=True)
def own_progress(tmp_path, monkeypatch):
    monkeypatch.setenv('COLLAB_NB_PROGRESS', str(tmp_path/'progress.json'))

def said(answer): return diagnose(find_exercise('marks'), answer).said

# The notebook

def test_the_whole_notebook_is_shown_before_anything_is_named():
    shown = next(c for c in PAGE[:MARKS] if c.source.endswith('\noriginal')).outputs[0].data
    for cell in read_original().cells: assert cell.source in shown['text/plain'] and cell.html() in shown['text/html']
    before = ' '.join(c.source for c in PAGE[:MARKS] if c.cell_type == 'markdown')
    named = r'Unnamed|#na#|genre|seed|baseline|keedim|L2|noise|overfit|title'
    assert not re.search(named, before)

def test_its_tables_can_be_read():
    losses = {n: read_original().table(n).valid_loss.tolist() for n in (19, 20, 21, 24)}
    assert [len(v) for v in losses.values()] == [5]*4
    assert losses[19][4] == .891426 and min(losses[21]) == losses[21][2] == .943284
    assert read_original().table(2).columns[0] == 'Unnamed: 0'

def test_a_cell_is_at_fault_or_innocent_and_never_both():
    cells = [*FAULTS, *INNOCENT, *SAME]
    assert sorted(cells) == [c.number for c in read_original().cells] and set(SAME.values()) <= set(FAULTS)

def test_every_fault_is_repaired_and_every_repair_is_a_fault():
    pages = '\n'.join(c.source for c in PAGE[MARKS:] if c.cell_type == 'markdown').split('\n## ')[1:]
    repairs,cells = {e.title for e in all_exercises() if e.chapter == 'bug_hunt' and e.name != 'marks'},set()
    for page in pages:
        if page.splitlines()[0] not in repairs: continue
        mentions = ' '.join(re.findall(r'[Cc]ells?[^.,]*`\d+`', page))
        named = {SAME.get(int(n), int(n)) for n in re.findall(r'`(\d+)`', mentions)}
        assert named & set(FAULTS), page
        cells |= named
    assert cells - set(INNOCENT) == set(FAULTS)

# The score

@pytest.mark.parametrize('empty', [[], {}, (), set()])
def test_empty_marks(empty):
    score = score_marks(empty, FAULTS, INNOCENT, SAME)
    assert (score.found, score.missed, score.accused) == ([], sorted(FAULTS), [])
    assert diagnose(find_exercise('marks'), []).state == 'not attempted'

def test_all_marks():
    score = score_marks(range(1, 27), FAULTS, INNOCENT, SAME)
    assert (score.found, score.missed, score.accused) == (sorted(FAULTS), [], sorted(INNOCENT))
    verdict = check('marks', list(range(1, 27)))
    assert verdict.state == 'not yet' and 'missed 0, and accused 7 innocent cells' in verdict.said[1]

@pytest.mark.parametrize('exact', [list(FAULTS), FAULTS, dict.fromkeys(FAULTS, ''), set(FAULTS), [*FAULTS, *SAME],
                                   [{12: 13, 15: 16, 26: 25}.get(n, n) for n in FAULTS]], ids=range(6))
def test_exact_marks(exact): assert check('marks', exact)

@pytest.mark.parametrize('cell', FAULTS)
def test_every_fault_can_be_found(cell):
    for marks in ([cell], {cell: 'odd'}):
        score = score_marks(marks, FAULTS, INNOCENT, SAME)
        assert score.found == [cell] and len(score.missed) == len(FAULTS)-1 and score.accused == []
    cells = ' and '.join(map(str, [cell, *(k for k,v in SAME.items() if v == cell)])).replace('26 and 25', '25 and 26')
    assert any(re.match(f'✔ Cells? {cells}: ', s) and s.endswith(f'{FAULTS[cell]} (You wrote: odd)')
               for s in said({cell: 'odd'}))

@pytest.mark.parametrize('cell', INNOCENT)
def test_who_is_innocent_hears_why(cell):
    assert f'✗ Cell {cell} is innocent: {INNOCENT[cell]}' in said([cell])

def test_what_was_missed_is_not_told():
    told = '\n'.join(said([2, 19]))
    assert 'Still hidden: 4 in the data (cells 1 to 10).' in told and 'You found 2 of 16 faults, missed 14' in told
    for cell in set(FAULTS) - {2, 19}: assert FAULTS[cell] not in told

@pytest.mark.parametrize('bad', [[0], [27], {99: 'far'}, [-1], [2.], ['2'], [True], [None], 3, 'abc', None, [[2]]],
                         ids=repr)
def test_unknown_cells_are_refused(bad):
    with pytest.raises(ValueError, match='the number of a cell must be|marks must be a list'):
        score_marks(bad, FAULTS, INNOCENT, SAME)
    if bad is None: return
    verdict = check('marks', bad)
    assert verdict.state == 'not yet' and re.match('The number of a cell must|Marks must be', verdict.said[0])

def test_the_parts_add_up():
    _,lines,_ = judge_marks([], FAULTS, INNOCENT, hunt._PARTS, SAME)
    hidden = [re.match(r'Still hidden: (\d+) in .* \(cells (\d+) to (\d+)\)', s) for s in lines[1:]]
    assert sum(int(m[1]) for m in hidden) == 16 and [int(m[3]) for m in hidden] == list(hunt._PARTS.values())

# The storage

SOURCE = 'def f(x):\n    "Twice"\n    return 2*x'

@pytest.mark.parametrize('changes, n', [({'3*': ''}, 0), ({'x': 'y'}, 2), ({'2*': '', 'return x': ''}, 0),
                                        ({'': 'a'}, 0)])
def test_a_piece_must_be_there_exactly_once(changes, n):
    with pytest.raises(ValueError, match=f'in the answer exactly once, got {n} times'): replaced(SOURCE, changes)

def test_pieces_must_not_overlap():
    with pytest.raises(ValueError, match='pieces must not overlap'): replaced(SOURCE, {'2*': '', '*x': ''})
    with pytest.raises(ValueError, match='pieces must not overlap'): replaced(SOURCE, {...: 'pass', '2*': ''})

def test_every_blank_of_the_hunt_is_pieces():
    repairs = [e for e in all_exercises() if e.chapter == 'bug_hunt' and e.name != 'marks']
    assert len(repairs) >= 20 and all(isinstance(e.given, dict) for e in repairs)
    for e in repairs:
        with pytest.raises(ValueError, match='exactly once'): e.slip('never there', {'no such piece': ''})
