"The command line: what it answers, what it refuses, and what it leaves behind"
import json
import os
import random
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck,given,settings
from hypothesis import strategies as st

from collab_nb.cli import VERBS,main
from collab_nb.folder import ModelFolder
from collab_nb.serving import Recommender
from collab_nb.synth import synth_ratings

ROOT = Path(__file__).parents[1]
NBS = ROOT/'nbs'
COMMAND = Path(sys.executable).with_name('collab_nb')

@pytest.fixture
def run(capsys):
    "Runs a command in this process: its two outputs and its exit status"
    def call(*words):
        capsys.readouterr()
        status = main([str(w) for w in words])
        res = capsys.readouterr()
        return res.out,res.err,status
    return call

@pytest.fixture
def refused(run):
    "A command that must fail: its one line"
    def call(*words):
        out,err,status = run(*words)
        assert (out, status) == ('', 1), (out, err, status)
        line = err.splitlines()[-1]
        assert line.startswith(f'collab_nb {words[0]}: ') and 'Error' not in line, line
        return line
    return call

def table(n_users=60, n_items=40, n=1200, **kwargs):
    res = synth_ratings(n_users, n_items, n, seed=1, **kwargs)
    return res.rename(columns={'user': 'userId', 'movie': 'movieId'})

@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    "Ratings, movies with genres, and a model of them"
    root = tmp_path_factory.mktemp('cli')
    t = table()
    t.drop(columns='title').to_csv(root/'ratings.csv', index=False)
    movies = pd.DataFrame({'movieId': range(1, 41), 'title': [f'Movie {n:02} ({1960+n})' for n in range(1, 41)],
                           'genres': ['Comedy|Drama' if n % 2 else 'Horror' for n in range(1, 41)]})
    movies.to_csv(root/'movies.csv', index=False)
    assert main(['train', str(root/'ratings.csv'), '--items', str(root/'movies.csv'), '--out', str(root/'model')]) == 0
    return root

# Answers

def test_train_says_what_it_did(folder, run, tmp_path):
    words = 'train', folder/'ratings.csv', '--items', folder/'movies.csv', '--out', tmp_path/'m', '--no-refit'
    out,err,status = run(*words)
    assert status == 0
    assert f'{folder}/ratings.csv: 1,200 ratings by 60 users of 40 items, from 1 to 5' in err
    assert "read 'userId' as user, 'movieId' as item, 'timestamp' as time" in err
    assert "held out: a fifth of each user's latest rows" in err
    for words in ('mean of all ratings', 'averages of users and items', 'the ratings model', 'popularity',
                  'the list model', '95% interval', 'models are those that were measured'): assert words in out
    about = ModelFolder(tmp_path/'m').about
    train = 1200 - about['held_out']
    for kind in ('stars', 'lists'): assert len(Recommender.load(tmp_path/'m'/kind).known.items) == train
    assert len(Recommender.load(folder/'model'/'stars').known.items) == 1200     # refitted

def test_ratings_are_learned_by_numba_or_else_by_pytorch(folder, run, tmp_path, monkeypatch):
    pytest.importorskip('numba')
    def train(name):
        err = run('train', folder/'ratings.csv', '--stars', '--trials', 2, '--out', tmp_path/name)[1]
        about = ModelFolder(tmp_path/name).about
        assert about['trainer'] in run('info', tmp_path/name)[0] and len(about['trials']['stars']) == 2
        rmse = {r['model']: r['value'] for r in about['measures'] if r['question'] == 'rmse'}
        return err,about['trainer'],set(about['settings']['stars']),rmse['stars']
    err,trainer,settings,fast = train('fast')
    assert 'trained by a compiled loop (numba)' in err and trainer == 'numba'
    assert settings == {'n_factors', 'reg', 'nu', 'epochs'}
    monkeypatch.setitem(sys.modules, 'collab_nb.further.speed', None)
    err,trainer,settings,slow = train('slow')
    assert "note: numba isn't available" in err and trainer == 'pytorch' and settings == {'n_factors', 'wd', 'epochs'}
    assert fast < slow+.01
    for name in ('fast', 'slow'):     # a model needs neither to answer
        for words in (['rate', tmp_path/name, 3, '--user', 7], ['recommend', tmp_path/name, '--user', 7],
                      ['page', tmp_path/name, '-o', tmp_path/f'{name}.html']): assert run(*words)[2] == 0

def test_the_verb_decides_which_model_answers(folder, run):
    stars,lists = (Recommender.load(folder/'model'/kind) for kind in ('stars', 'lists'))
    data = json.loads(run('recommend', folder/'model', '--user', 7, '-k', 4, '--json')[0])
    assert [r['item'] for r in data] == lists.recommend(7, k=4)['item'].tolist()
    assert [r['title'] for r in data] == lists.recommend(7, k=4).title.tolist()
    data = json.loads(run('rate', folder/'model', 3, 'Movie 05', '--user', 7, '--json')[0])
    assert np.allclose([r['rating'] for r in data], stars.predict(7, [3, 5]))
    data = json.loads(run('similar', folder/'model', 'Movie 05 (1965)', '-k', 3, '--json')[0])
    assert [r['item'] for r in data] == lists.similar(5, k=3)['item'].tolist()

def test_filters(folder, run, tmp_path):
    def items(*words): return [r['item'] for r in json.loads(run('recommend', folder/'model', '--user', 7, '-k', 40,
                                                                   '--json', *words)[0])]
    every = items()
    assert set(items('--genre', 'Horror')) == {i for i in every if i % 2 == 0}
    assert set(items('--without-genre', 'Horror|Drama')) == set()
    (tmp_path/'watchlist.csv').write_text(f'Date,Name,Year\n2024-01-01,Movie {every[0]:02},{1960+every[0]}\n'
                                          f'2024-01-01,Movie {every[5]:02},{1960+every[5]}\n')
    assert items('--among', tmp_path/'watchlist.csv') == [every[0], every[5]]
    assert set(items('--without', tmp_path/'watchlist.csv')) == set(every) - {every[0], every[5]}
    assert set(items('--seen')) == set(range(1, 41))
    counts = table().movieId.value_counts()
    assert items('--popularity', 1)[0] == max(every, key=lambda i: (counts[i], -i))
    assert '(no item is left)' in run('recommend', folder/'model', '--user', 7, '--without-genre', 'Horror|Drama')[0]

def test_evaluate_on_another_file(folder, run, tmp_path):
    more = table(n=2000)
    old = set(zip(table().userId, table().movieId))
    fresh = [p not in old for p in zip(more.userId, more.movieId)]
    strange = pd.DataFrame({'userId': [999], 'movieId': [1], 'rating': [3.], 'timestamp': [0], 'title': ['']})
    pd.concat([more, strange]).to_csv(tmp_path/'more.csv', index=False)
    out,err,status = run('evaluate', folder/'model', tmp_path/'more.csv', '--json')
    assert status == 0, err
    assert json.loads(out)['rows'] == sum(fresh)
    assert "1 row is left out: their users aren't in the model" in err
    assert f'{2000-sum(fresh):,} rows are left out: the model has these pairs of user and item already' in err
    rows = {(r['question'], r['model']): r['value'] for r in json.loads(out)['measures']}
    held = more[fresh]
    off = Recommender.load(folder/'model'/'stars').predict(held.userId.tolist(), held.movieId.tolist()) - held.rating
    assert np.isclose(rows['rmse', 'stars'], (off**2).mean()**.5)

def test_a_model_answers_without_its_file(folder, run, tmp_path):
    (tmp_path/'r.csv').write_bytes((folder/'ratings.csv').read_bytes())
    run('train', tmp_path/'r.csv', '--out', tmp_path/'model', '--implicit')
    (tmp_path/'r.csv').unlink()
    for words in (['recommend', tmp_path/'model', '--user', 1], ['info', tmp_path/'model'],
                  ['similar', tmp_path/'model', 1]): assert run(*words)[2] == 0

# Somebody the model never saw

def test_letterboxd(folder, run, tmp_path):
    mine = tmp_path/'letterboxd.csv'
    mine.write_text('Date,Name,Year,Letterboxd URI,Rating\n2024-01-02,Movie 01,1961,https://boxd.it/1,5\n'
                    '2024-01-03,Movie 02,1962,https://boxd.it/2,.5\n2024-01-05,Nothing Like This,2030,https://boxd.it/5,4\n')
    out,err,status = run('recommend', folder/'model', '--ratings', mine, '-k', 5, '--json')
    lists = Recommender.load(folder/'model'/'lists')
    wanted = lists.recommend(lists.fold_in([1]), k=5, without=[2])
    assert [r['item'] for r in json.loads(out)] == wanted['item'].tolist()
    assert 'goes by the 1 of 2 that got' in err     # the other one was half a star
    assert '1 title not found: Nothing Like This (2030)' in err
    out,err,status = run('rate', folder/'model', 3, '--ratings', mine, '--json')
    stars = Recommender.load(folder/'model'/'stars')
    assert np.isclose(json.loads(out)[0]['rating'], stars.predict(stars.fold_in({1: 5, 2: 1}), 3)[0], atol=1e-5)
    assert 'ratings on a scale from 0.5 to 5 were mapped to 1 to 5' in err

def test_movielens_own_export(folder, run, tmp_path):
    mine = tmp_path/'movielens-ratings.csv'
    mine.write_text('movie_id,imdb_id,tmdb_id,rating,average_rating,title\n1,1,2,4.0,3.9,Movie 01 (1961)\n'
                    '99,1,2,4.0,3.9,Unknown (1999)\n')
    out,err,status = run('recommend', folder/'model', '--ratings', mine)
    assert status == 0 and 'not in the model: 1 of 2 items (99)' in err

def test_another_scale(folder, run, refused, tmp_path):
    (tmp_path/'mine.csv').write_text('movieId,rating\n1,90\n2,10\n')
    _,err,_ = run('rate', folder/'model', 3, '--ratings', tmp_path/'mine.csv')
    assert 'from 0 to 100 were mapped to 1 to 5' in err
    _,err,_ = run('rate', folder/'model', 3, '--ratings', tmp_path/'mine.csv', '--scale', '10,90')
    assert 'from 10 to 90 were mapped to 1 to 5' in err
    assert 'go from 10 to 90' in refused('rate', folder/'model', 3, '--ratings', tmp_path/'mine.csv', '--scale', '1,10')
    assert "must be two numbers, such as 0.5,5, got 'ten'" in refused('rate', folder/'model', 3, '--ratings',
                                                                      tmp_path/'mine.csv', '--scale', 'ten')

# Everybody, and other tools

@pytest.mark.parametrize('name', ['lists.csv', 'lists.parquet'])
def test_everybodys_lists(folder, run, tmp_path, name):
    assert run('recommend', folder/'model', '--everyone', tmp_path/name, '-k', 3)[2] == 0
    if name.endswith('csv'): lists = pd.read_csv(tmp_path/name)
    else: lists = pd.DataFrame(pytest.importorskip('polars').read_parquet(tmp_path/name).to_dict(as_series=False))
    rec = Recommender.load(folder/'model'/'lists')
    for u in (1, 30, 60): assert lists[lists.user == u]['item'].tolist() == rec.recommend(u, k=3)['item'].tolist()
    assert lists.user.nunique() == 60 and [p.name for p in tmp_path.iterdir()] == [name]

@pytest.mark.parametrize('kind', ['stars', 'lists'])
def test_duckdb_gets_the_same_ten(folder, run, tmp_path, kind):
    duckdb = pytest.importorskip('duckdb')
    assert run('export', folder/'model', '--out', tmp_path/'v', '--kind', kind)[2] == 0
    rec = Recommender.load(folder/'model'/kind)
    sql = """select i.item from '{v}/users.parquet' u, '{v}/items.parquet' i where u.user = {user}
             and i.item not in (select item from '{v}/known.parquet' where "user" = {user})
             order by list_inner_product(u.vector::float[], i.vector::float[]) desc limit 10"""
    for user in (1, 30, 60):
        got = [row[0] for row in duckdb.sql(sql.format(v=tmp_path/'v', user=user)).fetchall()]
        assert got == rec.recommend(user, k=10)['item'].tolist()

# Files of all kinds

def write(path, rows, header='user,item,rating'):
    path.write_text('\n'.join([header, *(','.join(map(str, r)) for r in rows)]) + '\n', encoding='utf-8')
    return path

@pytest.mark.parametrize('scale', [[.5, 3, 5], [1, 4, 10], [-1, 1, 1], [0, 55, 100]])
def test_any_scale(run, tmp_path, scale):
    rng = random.Random(0)
    rows = [(u, i, scale[0] if (u+i) % 5 == 0 else rng.choice(scale)) for u in range(12) for i in range(8)]
    assert run('train', write(tmp_path/'r.csv', rows), '--out', tmp_path/'m', '--stars')[2] == 0
    about = ModelFolder(tmp_path/'m').about
    assert about['scale'] == [scale[0], scale[-1]]
    out = json.loads(run('rate', tmp_path/'m', *range(8), '--user', 1, '--json')[0])
    span = scale[-1]-scale[0]
    assert all(scale[0]-span/4 <= r['rating'] <= scale[-1]+span/8 for r in out)

@pytest.mark.parametrize('ids', [['007', '7'], ['Zoë', '日本'], ['x'*300, 'y'], ['a b', '"c"'], ['-1', '-2']],
                         ids=['zeros', 'unicode', 'long', 'quotes', 'negative'])
def test_any_ids(run, tmp_path, ids):
    rows = [(f'"{u}"'.replace('""c""', '"""c"""'), i, 1+(i+len(u)) % 5) for u in ids for i in range(8)]
    assert run('train', write(tmp_path/'r.csv', rows), '--out', tmp_path/'m')[2] == 0
    for user in ids:
        out,_,status = run('recommend', tmp_path/'m', f'--user={user}', '--seen', '--json')
        assert status == 0 and len(json.loads(out)) == 8

@pytest.mark.parametrize('rows', [[(1, 1, 3)], [(1, i, i % 5) for i in range(9)], [(u, 1, u % 5) for u in range(9)]],
                         ids=['one rating', 'one user', 'one item'])
def test_tiny_files(run, tmp_path, rows):
    out,err,status = run('train', write(tmp_path/'r.csv', rows), '--out', tmp_path/'m')
    assert status == 0
    held = sum(1 for _ in rows) if len({u for u,*_ in rows}) == 1 and len(rows) > 2 else 0
    assert ('nothing was held out' in err) == (not held)
    assert run('recommend', tmp_path/'m', '--user', rows[0][0], '--seen')[2] == 0

def test_equal_ratings_are_said(run, tmp_path):
    out,err,status = run('train', write(tmp_path/'r.csv', [(u, i, 4) for u in range(4) for i in range(5)]), '--out',
                         tmp_path/'m')
    assert status == 0 and 'all ratings are 4' in err
    assert abs(json.loads(run('rate', tmp_path/'m', 1, '--user', 1, '--json')[0])[0]['rating']-4) < .5

def test_clicks_and_counts(run, tmp_path):
    rows = [(u, i, 1 + u*i % 7) for u in range(9) for i in range(9) if (u+i) % 3]
    clicks = write(tmp_path/'c.csv', [r[:2] for r in [*rows, *rows]], 'visitor_id,product_id')
    out,err,status = run('train', clicks, '--out', tmp_path/'clicks')
    assert status == 0 and ModelFolder(tmp_path/'clicks').about['kinds'] == ['lists']
    assert ModelFolder(tmp_path/'clicks').about['rows'] == len(rows)     # a pair counts once
    counts = write(tmp_path/'n.csv', rows, 'user,item,amount')
    run('train', counts, '--out', tmp_path/'plain')
    run('train', counts, '--out', tmp_path/'weighted', '--weight', 'amount')
    plain,weighted = (Recommender.load(tmp_path/n/'lists') for n in ('plain', 'weighted'))
    assert weighted.weighted and not plain.weighted and not np.allclose(plain.scores(1), weighted.scores(1))
    (tmp_path/'mine.csv').write_text('item\tother\n1\t2\n')
    assert run('recommend', tmp_path/'weighted', '--ratings', tmp_path/'mine.csv')[2] == 0

def test_implicit_ignores_ratings_and_ratings_beat_counts(folder, run, tmp_path):
    run('train', folder/'ratings.csv', '--out', tmp_path/'m', '--implicit')
    assert ModelFolder(tmp_path/'m').kinds == ['lists']
    both = write(tmp_path/'b.csv', [(u, i, 1+u*i % 5, 7) for u in range(5) for i in range(5)], 'user,item,rating,count')
    _,err,_ = run('train', both, '--out', tmp_path/'b')
    assert "there are ratings, so 'count' isn't used" in err
    assert not ModelFolder(tmp_path/'b').about['weighted']

BAD = {'an empty file': ('', 'is empty'), 'a header alone': ('user,item,rating\n', 'has a header and no rows'),
       'text among ratings': ('user,item,rating\n1,2,3\n1,3,four\n',
                              "column 'rating', line 3: the rating must be a number"),
       'not a number': ('user,item,rating\n1,2,NaN\n', "column 'rating', line 2"),
       'infinity': ('user,item,rating\n1,2,inf\n', "column 'rating', line 2"),
       'no id': ('user,item,rating\n,2,3\n', "column 'user', line 2: the user is missing"),
       'binary': (bytes(range(256))*4, 'is not a table of text'),
       'one column': ('hello\nworld\n', 'at least two columns'),
       'broken line': ('user,item,rating\n1,2,3\n1,2,3,4\n', 'line 3: there must be 3 columns, got 4'),
       'unknown columns': ('a,b\n1,2\n', 'has no column for the user'),
       'thousands': ('user,item,rating\n1,2,"1,000"\n', "line 2: the rating must be a number, got '1,000'"),
       'dates either way': ('user,item,date\n1,2,05/06/2024\n', 'day first or month first?')}

@pytest.mark.parametrize('what', BAD)
def test_bad_files_get_one_line_and_leave_nothing(refused, tmp_path, what):
    data,message = BAD[what]
    (tmp_path/'r.csv').write_bytes(data if isinstance(data, bytes) else data.encode())
    line = refused('train', tmp_path/'r.csv', '--out', tmp_path/'m')
    assert message in line and 'r.csv' in line
    assert [p.name for p in tmp_path.iterdir()] == ['r.csv']

def test_bad_places(folder, refused, tmp_path):
    assert 'is a folder; name a file in it' in refused('train', tmp_path, '--out', tmp_path/'m')
    assert 'there is no such file' in refused('train', tmp_path/'none.csv', '--out', tmp_path/'m')
    (tmp_path/'mine').mkdir()
    (tmp_path/'mine'/'thesis.tex').write_text('')
    words = 'train', folder/'ratings.csv', '--out', tmp_path/'mine', '--force'
    assert "has other files in it (thesis.tex), so it isn't replaced" in refused(*words)
    assert '--force replaces it' in refused('train', folder/'ratings.csv', '--out', folder/'model')
    assert 'is not a model: there is no about.json in it' in refused('info', tmp_path)
    (tmp_path/'mine'/'about.json').write_text('{"format": "collab_nb.model", "version": 9}')
    assert 'version 9 of the format' in refused('info', tmp_path/'mine')
    (tmp_path/'mine'/'about.json').write_text('{"for')
    assert 'is damaged' in refused('info', tmp_path/'mine')

@pytest.mark.skipif(not hasattr(os, 'geteuid') or os.geteuid() == 0, reason='nothing is forbidden here')
def test_no_permission(folder, refused, tmp_path):
    (tmp_path/'r.csv').write_text('user,item\n1,2\n')
    (tmp_path/'r.csv').chmod(0)
    assert 'no permission to read it' in refused('train', tmp_path/'r.csv', '--out', tmp_path/'m')
    tmp_path.chmod(0o500)
    assert 'no permission to write into' in refused('train', folder/'ratings.csv', '--out', tmp_path/'m')

def test_bad_questions(folder, refused):
    model = folder/'model'
    assert "user '999' is not in the model" in refused('recommend', model, '--user', 999)
    assert "no id or title" in refused('similar', model, 'Nothing')
    assert 'close to it' in refused('similar', model, 'Movie')
    assert 'one of --user and --ratings' in refused('rate', model, 1)
    assert 'k must be a whole number, 1 or more, got 0' in refused('recommend', model, '--user', 1, '-k', 0)
    assert 'popularity must be between 0 and 1, got 2' in refused('recommend', model, '--user', 1, '--popularity', 2)
    words = 'recommend', model, '--user', 1, '--genre', 'Jazz'
    assert "genres must be among Comedy, Drama, Horror, got 'Jazz'" in refused(*words)
    assert "kind must be stars or lists, got 'x'" in refused('export', model, '--kind', 'x')
    words = 'train', folder/'ratings.csv', '--out', folder/'x', '--trials', -1
    assert 'trials must be 0 or more, got -1' in refused(*words)
    assert 'seed must be 0 to' in refused('train', folder/'ratings.csv', '--out', folder/'x', '--seed', 2**64)
    assert "user '07' is not in the model" in refused('recommend', model, '--user', '07')
    assert 'no row is left to measure on' in refused('evaluate', model, folder/'ratings.csv')

def test_items_of_another_table(folder, refused, tmp_path):
    (tmp_path/'other.csv').write_text('movieId,title\n901,A\n902,B\n')
    line = refused('train', folder/'ratings.csv', '--items', tmp_path/'other.csv', '--out', tmp_path/'m')
    assert 'none of its 2 items is among those that were rated, such as' in line and not (tmp_path/'m').exists()

def test_what_is_there_is_not_overwritten(folder, refused, run, tmp_path):
    (tmp_path/'notes.csv').write_text('mine')
    words = 'recommend', folder/'model', '--everyone', tmp_path/'notes.csv'
    assert '--force replaces it' in refused(*words)
    assert (tmp_path/'notes.csv').read_text() == 'mine' and run(*words, '--force')[2] == 0
    run('train', folder/'ratings.csv', '--implicit', '--out', tmp_path/'m')
    (tmp_path/'m'/'notes.md').write_text('mine')
    words = 'train', folder/'ratings.csv', '--out', tmp_path/'m', '--force'
    assert 'has other files in it (notes.md)' in refused(*words)

def test_another_scale_is_not_measured(folder, refused, tmp_path):
    write(tmp_path/'r.csv', [(1, i, 10) for i in range(1, 5)])
    line = refused('evaluate', folder/'model', tmp_path/'r.csv')
    assert "its ratings go from 10 to 10, the model's from 1 to 5" in line

def test_plain_lists_and_clear_ambiguity(folder, refused, run, tmp_path):
    (tmp_path/'watchlist.txt').write_text('Movie 01\nMovie 02 (1962)\n')
    out,_,_ = run('recommend', folder/'model', '--user', 7, '--seen', '--among', tmp_path/'watchlist.txt', '--json')
    assert {r['item'] for r in json.loads(out)} == {1, 2}
    (tmp_path/'items.csv').write_text('movieId,title\n1,Twins\n2,Twins\n')
    run('train', folder/'ratings.csv', '--items', tmp_path/'items.csv', '--implicit', '--out', tmp_path/'m')
    assert "'Twins' is the title of 2 items; name it by id: 1, 2" in refused('similar', tmp_path/'m', 'Twins')

def test_stdout_may_be_closed(folder):
    words = f'"{COMMAND}" info "{folder}/model" >&-'
    assert subprocess.run(words, shell=True, capture_output=True).returncode == 0

def test_debug_shows_where(folder):
    words = ['recommend', str(folder/'model'), '--user', 'x', '--debug']
    with pytest.raises(ValueError, match='not in the model'): main(words)

def test_an_error_that_nobody_foresaw_is_one_line(folder, run, monkeypatch):
    def broken(model): raise KeyError('odd')
    broken.__doc__ = 'Broken'
    monkeypatch.setitem(VERBS, 'info', broken)
    assert run('info', 'm') == ('', "collab_nb info: KeyError: 'odd' (--debug shows where)\n", 1)

def test_what_is_not_a_command(run, capsys):
    assert run('nonsense')[2] == 2 and run()[2] == 2 and run('--help')[2] == 0
    with pytest.raises(SystemExit) as e: main(['train'])
    assert e.value.code == 2

# Help

@pytest.mark.parametrize('verb', ['', *VERBS])
def test_help_fits_eighty_columns(verb, monkeypatch, capsys):
    monkeypatch.setenv('COLUMNS', '80')
    try: main([*([verb] if verb else []), '--help'])
    except SystemExit as e: assert e.code == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) > 5 and max(map(len, lines)) <= 80
    assert not re.search(r'\((str|int|bool|float)\)|default: (True|False|None)', '\n'.join(lines))

def test_quick_answers_need_no_training_library():
    code = ("import sys; from collab_nb.cli import main; import contextlib\n"
            "with contextlib.suppress(SystemExit): main(['train', '--help'])\n"
            "assert not {'torch', 'fastai', 'pandas', 'numpy'} & set(sys.modules), 'help'\n")
    subprocess.run([sys.executable, '-c', code], check=True, capture_output=True)

def test_answers_from_a_folder_need_no_training_library(folder):
    code = (f"import sys; from collab_nb.cli import main\nm = {str(folder/'model')!r}\n"
            "for words in (['info', m], ['recommend', m, '--user', '1'], ['rate', m, '1', '--user', '1']):\n"
            "    assert not main(words)\n"
            "assert not {'torch', 'fastai', 'scipy', 'matplotlib'} & set(sys.modules)\n")
    subprocess.run([sys.executable, '-c', code], check=True, capture_output=True)

def test_the_installed_command(folder):
    words = [COMMAND, 'recommend', folder/'model', '--user', '1', '--json']
    res = subprocess.run(words, capture_output=True, text=True)
    assert res.returncode == 0 and len(json.loads(res.stdout)) == 10 and res.stderr == ''

# Whatever comes

CELLS = st.one_of(st.integers(-3, 12), st.floats(allow_nan=True, width=32), st.text(max_size=6),
                  st.sampled_from(['', '007', '1,5', '"', ' ', '2024-01-01', 'ü']))

@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(CELLS, CELLS, CELLS), max_size=12), st.sampled_from(['user,item,rating', 'user,item,count',
       'user;item;rating', 'user,item,time']), st.booleans())
def test_any_table_trains_or_gets_one_line(capsys, tmp_path, rows, header, quoted):
    sep = ';' if ';' in header else ','
    def cell(v): return '"' + str(v).replace('"', '""') + '"' if quoted else str(v)
    text = '\n'.join([header, *(sep.join(map(cell, r)) for r in rows)])
    (tmp_path/'r.csv').write_bytes(text.encode('utf-8', 'replace'))
    capsys.readouterr()
    status = main(['train', str(tmp_path/'r.csv'), '--out', str(tmp_path/'m'), '--force'])
    err = capsys.readouterr().err
    assert status in (0, 1) and '--debug shows where' not in err, err
    if status: assert err.splitlines()[-1].startswith('collab_nb train: ')
    else:
        model = ModelFolder(tmp_path/'m')
        for kind in model.kinds: assert len(model.recommender(kind).users) == model.about['users']
    assert {p.name for p in tmp_path.iterdir()} <= {'r.csv', 'm'}

# Interrupted, or several at once

FORKS = '''
import os,random,signal,sys,time
import torch
torch.set_num_threads(1)
import collab_nb.fitting
from collab_nb.cli import main
ratings,out,what = sys.argv[1:]
def start(*more):
    pid = os.fork()
    if pid: return pid
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    os._exit(main(['train', ratings, '--out', out, *more]))
def end(pid): return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
if what == 'together':
    for more in ((), ('--force',)): print(sorted(end(p) for p in [start(*more) for _ in range(4)]))
else:
    began = time.monotonic()
    end(start('--force'))
    whole = time.monotonic()-began
    rng = random.Random(0)
    for n in range(int(what)):
        pid = start('--force')
        time.sleep(whole*rng.uniform(.1, 1.1))
        os.kill(pid, signal.SIGKILL)
        end(pid)
        assert main(['info', out]) == 0 and main(['recommend', out, '--user', '1']) == 0
'''

def forked(folder, out, what):
    res = subprocess.run([sys.executable, '-c', FORKS, folder/'ratings.csv', out, what], capture_output=True, text=True)
    assert res.returncode == 0, res.stderr
    return res.stdout

@pytest.mark.skipif(not hasattr(os, 'fork'), reason='processes are forked')
def test_four_write_the_same_folder(folder, tmp_path):
    assert forked(folder, tmp_path/'m', 'together') == '[0, 1, 1, 1]\n[0, 0, 0, 0]\n'
    assert [p.name for p in tmp_path.iterdir()] == ['m']
    model = ModelFolder(tmp_path/'m')
    for kind in model.kinds: model.recommender(kind)

@pytest.mark.full
@pytest.mark.skipif(not hasattr(os, 'fork'), reason='processes are forked')
def test_killed_at_ten_moments(folder, tmp_path):
    "Before, while and after a model is written: the place has a whole one, and nothing else there has its name"
    forked(folder, tmp_path/'m', '10')
    assert all(p.name == 'm' or p.name.startswith('.m-') for p in tmp_path.iterdir())

def test_stopped(folder, tmp_path):
    "Ctrl-C and the system's request to end: nothing is left"
    import signal
    import time
    for sign in (signal.SIGINT, signal.SIGTERM):
        p = subprocess.Popen([COMMAND, 'train', folder/'ratings.csv', '--out', tmp_path/'m', '--trials', '200'],
                             stderr=subprocess.PIPE, text=True)
        while 'held out' not in p.stderr.readline(): time.sleep(.01)
        p.send_signal(sign)
        assert p.communicate()[1].splitlines()[-1] == 'collab_nb train: stopped; nothing was written'
        assert p.returncode == 130 and not list(tmp_path.iterdir())

# What README and the page say

def python_blocks(notebook):
    import nbformat
    text = '\n'.join(c.source for c in nbformat.read(notebook, as_version=4).cells if c.cell_type == 'markdown')
    return re.findall(r'```python\n(.*?)```', text, re.S)

def test_the_web_service_on_the_page(run, tmp_path, monkeypatch):
    testclient = pytest.importorskip('starlette.testclient')
    t = table().assign(userId=lambda t: 'p' + t.userId.astype(str))
    t[['userId', 'movieId']].to_csv(tmp_path/'r.csv', index=False)
    run('train', tmp_path/'r.csv', '--out', tmp_path/'club')
    monkeypatch.chdir(tmp_path)
    source = next(b for b in python_blocks(NBS/'your_own_ratings.ipynb') if 'Starlette' in b)
    assert len(source.strip().splitlines()) <= 15
    service = {}
    exec(source, service)
    client = testclient.TestClient(service['app'])
    wanted = Recommender.load('club/lists').recommend('p7', k=3)['item'].tolist()
    assert [r['item'] for r in client.get('/lists/p7?k=3').json()] == wanted
    missing = client.get('/lists/nobody')
    assert missing.status_code == 404 and "user 'nobody'" in missing.text

def test_coming_from_another_library(tmp_path):
    "The page's last block, with factors of anyone"
    from types import SimpleNamespace
    source = next(b for b in python_blocks(NBS/'your_own_ratings.ipynb') if 'from_factors' in b)
    rng = np.random.default_rng(0)
    model = SimpleNamespace(user_factors=rng.normal(size=(2, 3)), item_factors=rng.normal(size=(3, 3)))
    orders = pd.DataFrame({'customer_id': ['a', 'b'], 'sku': ['x', 'y']})
    names = {'model': model, 'users': ['a', 'b'], 'items': ['x', 'y', 'z'], 'orders': orders}
    exec(source.replace("'orders'", repr(str(tmp_path/'orders'))), names)
    assert set(Recommender.load(tmp_path/'orders').recommend('a')['item']) == {'y', 'z'}

def test_the_lines_in_readme(folder, tmp_path):
    text = (ROOT/'README.md').read_text(encoding='utf-8')
    block = next(b for b in re.findall(r'```bash\n(.*?)```', text, re.S) if 'collab_nb train' in b)
    lines = [line for line in block.splitlines() if line.startswith('collab_nb')]
    assert len(lines) == 2
    t = table(n_users=200, n_items=40, n=3000)
    t[['userId', 'movieId', 'rating', 'timestamp']].to_csv(tmp_path/'ratings.csv', index=False)
    (tmp_path/'movies.csv').write_bytes((folder/'movies.csv').read_bytes())
    (tmp_path/'mine.csv').write_text('Date,Name,Year,Letterboxd URI,Rating\n2024-01-02,Movie 01,1961,https://boxd.it/1,5\n')
    env = os.environ | {'PATH': f'{COMMAND.parent}{os.pathsep}{os.environ["PATH"]}'}
    for line in lines:
        res = subprocess.run(line.split('#')[0], shell=True, cwd=tmp_path, env=env, capture_output=True, text=True)
        assert res.returncode == 0, res.stderr
    assert 'Movie' in res.stdout
