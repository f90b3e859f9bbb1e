"MovieLens: what is accepted, what is refused, and that nothing is ever left half done."
import os
import shutil
import subprocess
import sys
import zipfile

import pytest

from collab_nb import sources
from collab_nb.data import DataError, get_ml100k, my_ratings, read_movies, read_ratings, read_users
from collab_nb.sources import FILES, PERSONA


@pytest.fixture
def copy(path, tmp_path):
    "A copy of MovieLens that a test may spoil"
    for f in FILES: shutil.copy(path/f, tmp_path/f)
    return tmp_path

@pytest.fixture
def home(tmp_path, monkeypatch):
    "An empty fastai data folder, no folder named, and no network"
    def nothing(tmp, timeout): raise OSError('out of reach')
    monkeypatch.setattr(sources, 'fastai_path', lambda kind: tmp_path/kind)
    monkeypatch.setattr(sources, '_from_fastai', nothing)
    monkeypatch.setattr(sources, '_from_wheel', nothing)
    monkeypatch.delenv('COLLAB_NB_DATA', raising=False)
    return tmp_path/'data'


def test_readers(path):
    assert read_ratings(path).shape == (100_000, 5)
    assert list(read_movies(path).columns) == ['movie', 'title', 'year', 'genres']
    assert read_movies(path).set_index('movie').loc[1].tolist() == ['Toy Story (1995)', 1995, "Animation|Children's|Comedy"]
    assert read_users(path).shape == (943, 5)
    assert read_users(path).zip_code.str.len().eq(5).all()      # no zero lost in front

def test_odd_titles(path):
    titles = read_movies(path).set_index('movie').title
    assert titles[267] == 'unknown'
    assert titles[1412] == 'Land Before Time III: The Time of the Great Giving (1995) (V)'
    assert titles[543] == 'Misérables, Les (1995)'
    assert read_movies(path).set_index('movie').year[1412] == 1995

def test_reader_can_read_the_files_as_the_original_does(path):
    import pandas as pd
    items = pd.read_csv(path/'u.item', delimiter='|', encoding='latin-1', header=None, usecols=(0, 1), names=['movie', 'title'])
    assert items.title[0] == 'Toy Story (1995)'

@pytest.mark.parametrize('call', [get_ml100k, read_ratings, read_movies, read_users])
def test_no_folder(call, tmp_path):
    with pytest.raises(DataError, match='is not a folder'): call(tmp_path/'nowhere')

@pytest.mark.parametrize('call', [get_ml100k, read_ratings, read_movies, read_users])
def test_folder_without_the_files(call, tmp_path):
    (tmp_path/'u.item').touch()
    with pytest.raises(DataError, match='lacks u.data, u.user, u.genre'): call(tmp_path)

@pytest.mark.parametrize('call', [get_ml100k, read_ratings])
def test_truncated(call, copy):
    raw = (copy/'u.data').read_bytes()
    (copy/'u.data').write_bytes(raw[:len(raw)//2])
    with pytest.raises(DataError, match='u.data is not MovieLens-100k.*cut short'): call(copy)

def test_foreign(copy):
    (copy/'u.user').write_text('1|24|M|technician|85711\n')
    with pytest.raises(DataError, match='u.user is not'): get_ml100k(copy)

def test_no_genres(copy):
    (copy/'u.genre').write_text('')
    with pytest.raises(DataError, match='u.genre is not'): read_movies(copy)

def test_truncated_items(copy):
    lines = (copy/'u.item').read_bytes().splitlines(keepends=True)
    (copy/'u.item').write_bytes(b''.join(lines[:-1]))
    with pytest.raises(DataError, match='1,681 lines'): read_movies(copy)

def test_named_by_the_variable(copy, monkeypatch):
    monkeypatch.setenv('COLLAB_NB_DATA', str(copy))
    assert get_ml100k() == copy
    monkeypatch.setenv('COLLAB_NB_DATA', str(copy/'nowhere'))
    with pytest.raises(DataError, match='nowhere is not a folder'): get_ml100k()     # no silent second choice

def test_nothing_serves(home):
    with pytest.raises(DataError) as e: get_ml100k()
    for said in ('no folder was named', "fastai's data folder", 'untar_data: out of reach', 'package index: out of reach', 'What to do'):
        assert said in str(e.value)
    assert list(home.iterdir()) == []

def test_second_source_serves(home, path, monkeypatch):
    monkeypatch.setattr(sources, '_from_wheel', lambda tmp, timeout: shutil.copytree(path, f'{tmp}/ml-100k'))
    assert get_ml100k() == home/'ml-100k'
    assert (home/'ml-100k'/'SOURCE').read_text() == 'the package index'
    monkeypatch.setattr(sources, '_from_wheel', None)
    assert get_ml100k() == home/'ml-100k'                       # it is there: nothing is fetched

@pytest.mark.parametrize('error', [KeyboardInterrupt, SystemExit])
def test_interrupted(error, home, path, monkeypatch):
    def half(tmp, timeout):
        os.mkdir(f'{tmp}/ml-100k')
        shutil.copy(path/'u.data', f'{tmp}/ml-100k')
        raise error
    monkeypatch.setattr(sources, '_from_fastai', half)
    with pytest.raises(error): get_ml100k()
    assert list(home.iterdir()) == []

def test_a_source_with_other_bytes_does_not_serve(home, path, monkeypatch):
    def other(tmp, timeout):
        new = sources.Path(shutil.copytree(path, f'{tmp}/ml-100k'))
        (new/'u.data').write_text('1\t1\t5\t1\n')
        return new
    monkeypatch.setattr(sources, '_from_fastai', other)
    with pytest.raises(DataError, match='untar_data: .*another SHA-256'): get_ml100k()
    assert list(home.iterdir()) == []

def test_a_damaged_folder_is_not_overwritten(home):
    (home/'ml-100k').mkdir(parents=True)
    (home/'ml-100k'/'mine.txt').write_text('keep')
    with pytest.raises(DataError, match='Move .* away'): get_ml100k()
    assert (home/'ml-100k'/'mine.txt').read_text() == 'keep'

def test_time_limit():
    with pytest.raises(OSError, match='no answer within 0.3 s'): sources._run([sys.executable, '-c', 'import time; time.sleep(30)'], 0.3)

def test_altered_wheel(tmp_path, monkeypatch):
    def run(args, timeout):
        with zipfile.ZipFile(tmp_path/'recbole.whl', 'w') as z:
            for kind in sources.WHEEL_SHA256: z.writestr(f'recbole/dataset_example/ml-100k/ml-100k.{kind}', 'a\tb\n1\t2\n')
    monkeypatch.setattr(sources, '_run', run)
    with pytest.raises(DataError, match='another SHA-256'): sources._from_wheel(tmp_path, 1)
    assert not (tmp_path/'ml-100k').exists()

def test_two_processes_at_once(path, tmp_path):
    code = ('import shutil, sys, time; from collab_nb import sources\n'
            'def slow(tmp, timeout): time.sleep(1); return sources.Path(shutil.copytree(sys.argv[1], f"{tmp}/ml-100k"))\n'
            'sources._from_fastai = slow\n'
            'print(sources.get_ml100k())')
    env = {k: v for k,v in os.environ.items() if k != 'COLLAB_NB_DATA'} | {'FASTAI_HOME': str(tmp_path)}
    procs = [subprocess.Popen([sys.executable, '-c', code, str(path)], env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    outs = [p.communicate(timeout=100) for p in procs]
    assert [p.returncode for p in procs] == [0, 0], outs
    assert [o.splitlines()[-1] for o,_ in outs] == [str(tmp_path/'data'/'ml-100k')]*2
    assert [p.name for p in (tmp_path/'data').iterdir()] == ['ml-100k']

def test_whose_data_it_is_said_once(path, monkeypatch, capsys):
    monkeypatch.setattr(sources, '_announced', set())
    get_ml100k(path), get_ml100k(path)
    assert capsys.readouterr().out.count('GroupLens') == 1

def test_persona_in_the_chapter_is_the_librarys(path):
    assert len(PERSONA) == 15
    assert len(my_ratings(read_movies(path))) == 15

def test_your_ratings(path, tmp_path, monkeypatch):
    monkeypatch.setenv('COLLAB_NB_HOME', str(tmp_path))
    movies = read_movies(path)
    my_ratings(movies, {'Fargo (1996)': 2})
    assert my_ratings(movies).rating.tolist() == [2]
    for bad,why in (({'Chasing Amy (1997)': 3}, 'stands under 2 numbers'), ({'No Such Film': 3}, 'is no title'), ({}, 'no film is rated'), ({'Fargo (1996)': 'good'}, 'from 1 to 5'), ({'Fargo (1996)': float('nan')}, 'from 1 to 5')):
        with pytest.raises(ValueError, match=why): my_ratings(movies, bad)
    assert my_ratings(movies).rating.tolist() == [2]            # a refused table does not replace yours
    (tmp_path/'my_ratings.csv').write_text('no,such\n1,2\n')
    with pytest.raises(DataError, match='mend it or delete it'): my_ratings(movies)
