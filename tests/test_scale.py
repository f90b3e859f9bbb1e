"Made-up tables on disk, training from Parquet and from memory, interrupted runs, rings, and what's refused"
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import time

import nbformat
import numpy as np
import pandas as pd
import pytest
from conftest import NBS, ROOT

from collab_nb.further.speed import fit_fast
from collab_nb.serving import Recommender
from collab_nb.synth import synth_ratings

pl = pytest.importorskip('polars')
psutil = pytest.importorskip('psutil')
scale = pytest.importorskip('collab_nb.further.scale')
fit_parquet,synth_parquet = scale.fit_parquet,scale.synth_parquet
SETTINGS = {'n_factors': 6, 'reg': .05, 'nu': .5, 'epochs': 3}

@pytest.fixture(scope='module')
def made(): return synth_ratings(400, 250, 20_000, n_factors=4, noise=.5, seed=1).drop(columns='timestamp')

@pytest.fixture
def file(made, tmp_path):
    write(made, tmp_path/'ratings.parquet')
    return tmp_path/'ratings.parquet'

def write(table, path): pl.DataFrame({c: table[c].tolist() for c in table}).write_parquet(path)

def same(a, b):
    return (a.users == b.users and a.items == b.items and (a.item_table == b.item_table).all()
            and all((p == q).all() for p,q in zip(a.vectors(), b.vectors())) and a.ridge == b.ridge)

# Made-up tables

def test_a_made_up_table_has_the_shape_that_was_asked_for(tmp_path):
    file,held = tmp_path/'r.parquet',tmp_path/'h.parquet'
    truth = synth_parquet(file, 3_000, 2_000, 120_000, held=held, share=.1, seed=3)
    rows,out = pl.read_parquet(file),pl.read_parquet(held)
    both = pl.concat([rows, out])
    assert len(both) == 120_000 == len(both.unique(['user', 'movie'])) and .09 < len(out)/120_000 < .11
    assert set(both['user']) == set(range(1, 3001)) and both['movie'].is_between(1, 2000).all()
    assert (rows['user'].diff().drop_nulls() >= 0).all()
    assert both['user'].value_counts()['count'].min() >= 20 and both['movie'].value_counts()['count'].max() > 600
    shares = both['rating'].value_counts(sort=True)
    assert sorted(both['rating'].unique()) == [1, 2, 3, 4, 5] and len(shares) == 5
    preds = truth.predict(both['user'].to_numpy(), both['movie'].to_numpy())
    error = ((preds - both['rating'].to_numpy())**2).mean()
    assert abs(error/truth.floor(both['user'].to_numpy(), both['movie'].to_numpy()) - 1) < .02
    assert sorted(p.name for p in tmp_path.iterdir()) == ['h.parquet', 'r.parquet']

def test_the_seed_decides_and_so_does_nothing_else(tmp_path, monkeypatch):
    def made(seed):
        synth_parquet(tmp_path/'r.parquet', 500, 300, 9_000, seed=seed)
        return pl.read_parquet(tmp_path/'r.parquet')
    assert made(1).equals(made(1)) and not made(1).equals(made(2))

@pytest.mark.parametrize('sizes', [(1, 4, 1), (50, 4, 50), (30, 5, 37), (10, 100, 250), (400, 8, 800)])
def test_odd_sizes(tmp_path, sizes):
    synth_parquet(tmp_path/'r.parquet', *sizes)
    rows = pl.read_parquet(tmp_path/'r.parquet')
    assert len(rows) == sizes[2] == len(rows.unique(['user', 'movie'])) and rows['user'].n_unique() == sizes[0]

@pytest.mark.parametrize('wrong,says', [
    ({'n_users': 0}, 'n_users'), ({'n_ratings': 99}, 'n_ratings must be from 100'), ({'n_ratings': 2501}, 'to 2,500'),
    ({'noise': 0}, 'noise must be above 0'), ({'n_factors': 0}, 'n_factors'),
    ({'held': 'h', 'share': 1.5}, 'share must')])
def test_refuses_to_make(tmp_path, wrong, says):
    with pytest.raises(ValueError, match=says):
        synth_parquet(tmp_path/'r.parquet', **{'n_users': 100, 'n_items': 100, 'n_ratings': 2000, **wrong})
    with pytest.raises(ValueError, match='is not a folder'): synth_parquet(tmp_path/'none'/'r.parquet', 10, 10, 20)
    assert not list(tmp_path.iterdir())

# From disk and from memory

@pytest.mark.parametrize('threads', [1, 3])
@pytest.mark.parametrize('chunk', [700, 2**20])
def test_the_same_bits_from_disk(made, file, monkeypatch, threads, chunk):
    monkeypatch.setattr(scale, '_CHUNK', chunk)
    done = []
    rec = fit_parquet(file, **SETTINGS, threads=threads, progress=done.append)
    assert same(rec, fit_fast(made, **SETTINGS)) and done == [1/3, 2/3, 1]
    assert rec.titles[rec.items[0]] == f'Planted movie {rec.items[0]}'

def test_words_as_ids_other_names_repeated_pairs_and_half_stars(made, tmp_path):
    t = pd.concat([made, made.head(500)]).sample(frac=1, random_state=0)
    who,what = [f'user {u}' for u in t.user],[f'é{m}' for m in t.movie]
    t = pd.DataFrame({'who': who, 'what': what, 'stars': t.rating/2})
    write(t, tmp_path/'r.parquet')
    names = {'user': 'who', 'item': 'what', 'rating': 'stars'}
    assert same(fit_parquet(tmp_path/'r.parquet', **SETTINGS, **names), fit_fast(t, **SETTINGS, **names))

def test_a_folder_of_files(made, tmp_path):
    (tmp_path/'parts').mkdir()
    for n,lo in enumerate(range(0, len(made), 6000)): write(made.iloc[lo:lo+6000], tmp_path/'parts'/f'{n}.parquet')
    assert same(fit_parquet(tmp_path/'parts', **SETTINGS), fit_fast(made, **SETTINGS))

def test_who_rated_what(made, file):
    lean,full = fit_parquet(file, **SETTINGS),fit_parquet(file, **SETTINGS, seen=True)
    known = fit_fast(made, **SETTINGS).known
    assert (full.known.items == known.items).all() and (full.known.values == known.values).all() and same(lean, full)
    u = made.user[0]
    mine = set(made[made.user == u].movie)
    assert not mine & set(full.recommend(u, k=50)['item']) and mine & set(lean.recommend(u, k=200)['item'])

def test_tables_of_a_few_rows(tmp_path):
    write(pd.DataFrame({'user': [1], 'movie': [1], 'rating': [4.]}), tmp_path/'r.parquet')
    assert abs(fit_parquet(tmp_path/'r.parquet').predict(1, 1)[0] - 4) < .01

@pytest.mark.parametrize('chunk', [100, 2**20])
def test_a_survey_of_parts_says_what_one_of_all_does(made, tmp_path, monkeypatch, chunk):
    "To the last bit of a sum, in a file that isn't sorted by anything, with titles that differ"
    monkeypatch.setattr(scale, '_CHUNK', chunk)
    t = made.sample(3000, random_state=0)
    t = t.assign(user='u'+t.user.astype(str), rating=t.rating + t.index*1e-5, title=[f'title {k}' for k in range(3000)])
    write(t, tmp_path/'r.parquet')
    args = tmp_path/'r.parquet','user','movie','rating','title'
    def survey(parts):
        res = scale._together([scale._survey(*args, p, parts) for p in range(parts)], 'user', 'movie')
        return res | {'counts': [c.tolist() for c in res['counts']]}
    whole = survey(1)
    assert whole['n'] == 3000 and whole['ids'][0] == sorted(t.user.unique())
    assert whole['counts'][0] == t.user.value_counts().sort_index().tolist()
    assert whole['titles'] == t.drop_duplicates('movie').set_index('movie').title.to_dict()
    for parts in (2, 3, 7, 3001): assert survey(parts) == whole
    with pytest.raises(ValueError, match=r'same file of ratings, but they see other columns, or \[3000, 10\]'):
        write(t.head(10), tmp_path/'other.parquet')
        surveys = scale._survey(*args, 0, 2),scale._survey(tmp_path/'other.parquet', *args[1:], 1, 2)
        scale._together(surveys, 'user', 'movie')

def test_columns_with_names_of_our_own(made, tmp_path):
    "And titles as ids"
    names = {'user': 'n', 'item': 'title', 'rating': 'id'}
    t = made[['user', 'title', 'rating']].set_axis(['n', 'title', 'id'], axis=1)
    write(t, tmp_path/'r.parquet')
    rec = fit_parquet(tmp_path/'r.parquet', **SETTINGS, **names)
    assert same(rec, fit_fast(t, **SETTINGS, **names)) and rec.titles[rec.items[0]] == rec.items[0]

def test_a_folder_that_spark_wrote(made, tmp_path):
    "Notes among its files; and a folder with nothing else"
    folder = tmp_path/'ratings'
    (folder/'_temporary').mkdir(parents=True)
    for name in ('_SUCCESS', '.part-0.crc', '_temporary/part-9'): (folder/name).write_text('')
    with pytest.raises(ValueError, match='ratings must have files of ratings'): fit_parquet(folder, **SETTINGS)
    for n,lo in enumerate((0, 9000)): write(made.iloc[lo:lo+11000*n+9000], folder/f'part-{n}.snappy')
    assert same(fit_parquet(folder, **SETTINGS), fit_fast(made, **SETTINGS))

def test_names_are_no_patterns_and_folders_may_be_columns(made, tmp_path):
    half = len(made)//2
    for folder,names in (('a[1]', ('p1.parquet', 'p[1].parquet')), ('b', ('_half=0/x*.parquet', '_half=1/xy.parquet'))):
        for n,name in enumerate(names):
            (tmp_path/folder/name).parent.mkdir(parents=True, exist_ok=True)
            write(made.iloc[n*half:(n+1)*half], tmp_path/folder/name)
        assert same(fit_parquet(tmp_path/folder, **SETTINGS), fit_fast(made, **SETTINGS))
    for stars,rows in made.groupby('rating'):
        (tmp_path/'c'/f'rating={stars}').mkdir(parents=True)
        write(rows.drop(columns='rating'), tmp_path/'c'/f'rating={stars}'/'part-0.parquet')
    assert same(fit_parquet(tmp_path/'c', **SETTINGS), fit_fast(made.sort_values('rating', kind='stable'), **SETTINGS))

def test_a_sum_has_the_same_bits_each_time(tmp_path):
    "Polars adds up row groups in whatever order they arrive"
    r = np.random.default_rng(23)
    t = pl.DataFrame({'user': r.integers(0, 200, 20_000), 'movie': 1, 'rating': r.integers(10, 51, 20_000)/10})
    t.write_parquet(tmp_path/'r.parquet', row_group_size=500)
    args = tmp_path/'r.parquet','user','movie','rating','title',0,1
    assert len({scale._survey(*args)['sums'] for _ in range(20)}) == 1

# Stopped and started again

class Stop(Exception): pass

@pytest.mark.parametrize('every', [1, 3, None])
def test_goes_on_where_it_was_stopped(made, file, tmp_path, monkeypatch, every):
    work,whole,learn = tmp_path/'work',fit_fast(made, **SETTINGS),scale.Schedule.learn
    calls = []
    def fragile(*args):
        calls.append(args)
        if len(calls) % 61 == 0: raise Stop
        return learn(*args)
    monkeypatch.setattr(scale.Schedule, 'learn', fragile)
    rec,stops = None,0
    while rec is None:     # 8 groups, so 192 blocks in three epochs
        try: rec = fit_parquet(file, **SETTINGS, work=work, every=every)
        except Stop: stops += 1
        assert stops < 30
    assert stops >= 3 and same(rec, whole)
    assert len(list(work.glob('step-*'))) <= 2

def test_a_lost_file_means_an_earlier_step(made, file, tmp_path):
    work = tmp_path/'work'
    def stop(share):
        if share > .5: raise Stop
    with pytest.raises(Stop): fit_parquet(file, **SETTINGS, work=work, progress=stop)
    steps = sorted(work.glob('step-*'))
    assert len(steps) == 2
    (steps[1]/'items-03.npy').unlink()
    assert same(fit_parquet(file, **SETTINGS, work=work), fit_fast(made, **SETTINGS))

def test_stopped_while_it_writes_over_an_old_step(made, file, tmp_path, monkeypatch):
    work,save,calls = tmp_path/'work',np.save,[]
    def fragile(f, rows):
        calls.append(rows)
        if len(calls) == 40: raise Stop     # 16 files a step
        save(f, rows)
    monkeypatch.setattr(scale.np, 'save', fragile)
    with pytest.raises(Stop): fit_parquet(file, **SETTINGS, work=work)
    kept = {s.name: len(list(s.glob('*.npy'))) for s in work.glob('step-*')}
    assert kept == {'step-00000002': 8, 'step-00000004': 16, 'step-00000006': 7}     # one more is half-written
    assert same(fit_parquet(file, **SETTINGS, work=work), fit_fast(made, **SETTINGS))
    assert len(list(work.glob('step-*'))) == 2

@pytest.mark.parametrize('left', [0, 9, -4])
def test_files_that_end_early_are_an_error(made, file, tmp_path, left):
    "As after a power failure"
    work = tmp_path/'work'
    def cut(path, says):
        with open(path, 'r+b') as f: f.truncate(left if left >= 0 else path.stat().st_size+left)
        with pytest.raises(ValueError, match=says): fit_parquet(file, **SETTINGS, work=work)
    fit_parquet(file, **SETTINGS, work=work)
    step = max(work.glob('step-*'))
    cut(step/'items-03.npy', 'items-03.npy is damaged: delete .*step-')
    for s in work.glob('step-*'): shutil.rmtree(s)
    assert same(fit_parquet(file, **SETTINGS, work=work), fit_fast(made, **SETTINGS))
    for s in work.glob('step-*'): shutil.rmtree(s)
    cut(work/'blocks-03', 'blocks-03 must have all its blocks, but ends early: delete .*work')

def test_a_folder_without_its_run_is_refused(file, tmp_path):
    "Its steps could be another run's, and other files aren't ours to delete"
    work = tmp_path/'work'
    fit_parquet(file, **SETTINGS, work=work)
    (work/'run.json').unlink()
    with pytest.raises(ValueError, match='work must be empty or belong to this run, but has blocks-00: delete it'):
        fit_parquet(file, **{**SETTINGS, 'seed': 7}, work=work)

def test_categories_as_ids(made, tmp_path):
    "An Enum's own order isn't that of its words"
    words = made.assign(user='u'+made.user.astype(str), movie='m'+made.movie.astype(str))
    want,r = fit_fast(words, **SETTINGS),tmp_path/'r.parquet'
    table = pl.DataFrame({c: words[c].to_list() for c in ('user', 'movie', 'rating', 'title')})
    for kind in (pl.Enum(table['movie'].unique(maintain_order=True)), pl.Categorical):
        table.with_columns(pl.col('movie').cast(kind)).write_parquet(r)
        rec = fit_parquet(r, **SETTINGS)
        assert same(rec, want) and rec.titles == want.titles

def test_a_file_that_breaks_off_inside(file):
    data = bytearray(file.read_bytes())
    data[200:3000] = bytes(2800)
    file.write_bytes(data)
    with pytest.raises(ValueError, match='cannot be read as Parquet'): fit_parquet(file, **SETTINGS)

def test_one_process_needs_no_pytorch():
    "It takes seconds to load"
    code = "import sys, collab_nb.further.scale; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, '-c', code]).returncode == 0

def test_another_runs_folder_is_refused(made, file, tmp_path):
    work = tmp_path/'work'
    rec = fit_parquet(file, **SETTINGS, work=work)
    assert same(rec, fit_parquet(file, **SETTINGS, work=work))     # nothing is left to do
    def refused(says, **other):
        with pytest.raises(ValueError, match=says): fit_parquet(file, **{**SETTINGS, **other}, work=work)
    refused('begun with another reg=0.05', reg=.1)
    write(made.head(100), file)
    refused('begun with another file of ratings')

# Refused

@pytest.mark.parametrize('wrong,says', [
    ({'epochs': 0}, 'epochs'), ({'lr': 0}, 'lr must be above 0'), ({'reg': -1}, 'reg'), ({'threads': 0}, 'threads'),
    ({'every': 0}, 'every'), ({'lr': 1e6}, 'lr must be smaller'), ({'user': 'who'}, "no column 'who'"),
    ({'item': 'user'}, 'must be three columns'), ({'rating': 'title'}, 'ratings must be numbers')])
def test_refuses(file, wrong, says):
    with pytest.raises(ValueError, match=says): fit_parquet(file, **{**SETTINGS, **wrong})

def test_refuses_files(made, tmp_path):
    r = tmp_path/'r.parquet'
    with pytest.raises(ValueError, match='there is no such file'): fit_parquet(r)
    r.write_text('user,movie,rating')
    with pytest.raises(ValueError, match='cannot be read as Parquet'): fit_parquet(r)
    write(made.head(0), r)
    with pytest.raises(ValueError, match='at least one rating|must be numbers'): fit_parquet(r)
    for bad in (np.nan, np.inf, None):
        write(made.head(50).assign(rating=[bad, *made.rating[1:50]]), r)
        with pytest.raises(ValueError, match='1 of 50'): fit_parquet(r)
    write(made.head(50).assign(user=[None, *made.user[1:50]]), r)
    with pytest.raises(ValueError, match='user'): fit_parquet(r)
    write(made.head(50).assign(movie=made.movie.head(50) + .5), r)
    with pytest.raises(ValueError, match='ids must be int or str'): fit_parquet(r)

# Processes

ENV = {**os.environ, 'OMP_NUM_THREADS': '1', 'POLARS_MAX_THREADS': '1'}

def command(file, out, *more, processes=1, restarts=0):
    start = [sys.executable, '-m']
    if processes > 1:
        start += ['torch.distributed.run', '--standalone', '--nproc-per-node', processes]
        start += ['--max-restarts', restarts, '-m']
    return [str(c) for c in (*start, 'collab_nb.further.scale', file, '--out', out, *more)]

def run(*args, env=ENV, **kwargs):
    return subprocess.run(command(*args, **kwargs), env=env, capture_output=True, text=True)

def model(folder): return (folder/'model.safetensors').read_bytes()

@pytest.fixture(scope='module')
def larger(tmp_path_factory):
    "A file that takes some seconds, and the model of one process"
    folder = tmp_path_factory.mktemp('larger')
    synth_parquet(folder/'r.parquet', 5_000, 3_000, 400_000, n_factors=4)
    res = run(folder/'r.parquet', folder/'one', '--epochs', 40)
    assert res.returncode == 0, res.stderr
    assert 'epoch 40 of 40' in res.stderr and "doesn't know who rated what" in res.stderr
    assert not (folder/'one-work').exists()
    return folder

@pytest.mark.parametrize('processes', [2, 3])
def test_a_ring_gives_the_same_bits(larger, processes):
    res = run(larger/'r.parquet', larger/f'ring{processes}', '--epochs', 40, processes=processes)
    assert res.returncode == 0, res.stderr
    assert model(larger/f'ring{processes}') == model(larger/'one')
    assert res.stderr.count('epoch 40 of 40') == 1     # the first process speaks for all

def test_a_ring_without_a_disk_in_common(made, tmp_path):
    "Each machine has a folder of its own, sorts its share of the ratings alone, and leaves another run's folder alone"
    write(made.assign(rating=made.rating + made.index*1e-5), tmp_path/'r.parquet')
    script = tmp_path/'script.py'
    script.write_text('import os\nfrom collab_nb.further.scale import fit_parquet\n'
                      "os.environ['LOCAL_RANK'] = '0'     # as on machines of their own\n"
                      f"rec = fit_parquet('r.parquet', **{SETTINGS}, work='work'+os.environ['RANK'])\n"
                      "if rec: rec.save('model')\n")
    def start():
        command = [sys.executable, '-m', 'torch.distributed.run', '--standalone', '--nproc-per-node', '2', script]
        env = {**ENV, 'PYTHONPATH': str(ROOT)}
        return subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True)
    res = start()
    assert res.returncode == 0, res.stderr
    assert same(Recommender.load(tmp_path/'model'), fit_parquet(tmp_path/'r.parquet', **SETTINGS))
    shutil.rmtree(tmp_path/'work0')
    script.write_text(script.read_text().replace("'epochs': 3", "'epochs': 4"))
    res = start()
    assert res.returncode and 'work1 must belong to this run, but was begun with another epochs=3' in res.stderr

def until(p, what, seconds=120):
    end = time.time()+seconds
    while not what():
        assert p.poll() is None and time.time() < end, 'it ended too early, or never got there'
        time.sleep(.02)

def steps(out): return [s for s in out.with_name(f'{out.name}-work').glob('step-*') if any(s.iterdir())]

def workers(p): return [c for c in psutil.Process(p.pid).children(recursive=True) if 'scale' in ' '.join(c.cmdline())]

def test_killed_and_started_again(larger):
    out = larger/'killed'
    for _ in range(2):
        before = {s.name for s in steps(out)}
        p = subprocess.Popen(command(larger/'r.parquet', out, '--epochs', 40), env=ENV, stderr=subprocess.DEVNULL)
        until(p, lambda known=before: {s.name for s in steps(out)} - known)
        p.send_signal(signal.SIGKILL)
        p.wait()
    assert not out.exists()
    assert run(larger/'r.parquet', out, '--epochs', 40).returncode == 0
    assert model(out) == model(larger/'one') and not steps(out)

def test_a_worker_is_killed(larger):
    "The run stops with a clear message, and one process alone finishes it"
    out = larger/'worker'
    p = subprocess.Popen(command(larger/'r.parquet', out, '--epochs', 40, processes=2), env=ENV, stderr=subprocess.PIPE,
                         text=True)
    until(p, lambda: steps(out))
    workers(p)[-1].kill()
    said = p.communicate(timeout=120)[1]
    # it hears of it from the other one, or from torchrun, which stops it: whoever comes first
    assert p.returncode and ('another process has stopped' in said or 'stopped from outside' in said), said[-3000:]
    assert f'the same command goes on from {out}-work' in said
    assert run(larger/'r.parquet', out, '--epochs', 40).returncode == 0
    assert model(out) == model(larger/'one')

@pytest.mark.parametrize('how', [signal.SIGINT, signal.SIGTERM])
def test_told_to_stop(larger, how):
    out = larger/how.name
    p = subprocess.Popen(command(larger/'r.parquet', out, '--epochs', 40), env=ENV, stderr=subprocess.PIPE, text=True)
    until(p, lambda: steps(out))
    p.send_signal(how)
    said = p.communicate(timeout=60)[1]
    assert p.returncode == 1 and f'stopped from outside; the same command goes on from {out}-work' in said
    assert 'Traceback' not in said and steps(out)

def test_torchrun_starts_it_again(larger):
    out = larger/'restarted'
    p = subprocess.Popen(command(larger/'r.parquet', out, '--epochs', 40, processes=2, restarts=2), env=ENV,
                         stderr=subprocess.DEVNULL)
    until(p, lambda: steps(out))
    workers(p)[0].kill()
    assert p.wait(timeout=180) == 0 and model(out) == model(larger/'one')

def test_a_lonely_process_of_accelerate_is_told(file, tmp_path):
    res = run(file, tmp_path/'model', env={**ENV, 'ACCELERATE_USE_CPU': 'true'})
    assert res.returncode == 1 and 'use torchrun --nproc-per-node 2' in res.stderr and 'Traceback' not in res.stderr

def test_the_command_leaves_other_folders_alone(file, tmp_path):
    "It says so before it trains"
    for name in ('out', 'new-work'): (tmp_path/name).mkdir()
    for name in ('out', 'new-work'): (tmp_path/name/'thesis.txt').write_text('precious')
    for out,says in (('out', 'must be new or an earlier recommender'), ('new', 'must be empty or belong to this run'),
                     ('out/thesis.txt', 'must be new or an earlier recommender')):
        res = run(file, tmp_path/out, '--epochs', 1)
        assert res.returncode == 1 and says in res.stderr and 'epoch' not in res.stderr, res.stderr
        assert 'Traceback' not in res.stderr
    assert all((tmp_path/name/'thesis.txt').read_text() == 'precious' for name in ('out', 'new-work'))

def test_the_command_says_what_is_wrong(file, tmp_path):
    for args,says in (((tmp_path/'none', tmp_path/'model'), 'there is no such file'),
                      ((file, tmp_path/'model', '--user', 'who'), "no column 'who'")):
        res = run(*args)
        assert res.returncode == 1 and says in res.stderr and 'Traceback' not in res.stderr
    res = run(file, tmp_path/'model', '--user', 'who', processes=2)
    assert res.returncode and "no column 'who'" in res.stderr
    assert not (tmp_path/'model').exists()
    assert run(file, tmp_path/'model', '--seen', '--epochs', 1).returncode == 0
    assert Recommender.load(tmp_path/'model').known.items.size == 20_000

def test_without_polars_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, 'polars', None)
    monkeypatch.delitem(sys.modules, 'collab_nb.further.scale')
    with pytest.raises(ImportError, match=r"pip install 'collab_nb\[speed,io\]'"): __import__('collab_nb.further.scale')

# The bench

def test_the_bench_measures(tmp_path, monkeypatch):
    "In this process, on a small table: what `make scale` does in processes of their own"
    monkeypatch.syspath_prepend(ROOT/'tests'/'bench')
    spec = importlib.util.spec_from_file_location('bench_scale', ROOT/'tests'/'bench'/'scale.py')
    bench = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(bench)
    shape = 300,200,8_000
    bench.make(tmp_path, *shape)
    file,held = bench.names(tmp_path, shape)
    floor = json.loads(file.with_suffix('.json').read_text())
    got = bench.fit(file, held, 6, tmp_path/'model')
    assert 0 < got['CPU s an epoch'] < got['CPU s'] and got['peak MB'] > 50
    assert floor < got['RMSE'] < pl.read_parquet(held)['rating'].std()
    lists = bench.lists(tmp_path/'model', tmp_path/'lists.parquet')
    assert lists['rows'] == 3000 == len(pl.read_parquet(tmp_path/'lists.parquet')) and lists['one user ms'] > 0

def test_the_stored_figures_are_whole():
    figures = json.loads((ROOT/'collab_nb'/'scale.json').read_text(encoding='utf-8'))
    parts = {'growth', 'half_peak', 'more_epochs', 'ring', 'killed', 'data_parallel', 'gpu', 'lists'}
    assert parts | {'date', 'machine', 'versions'} <= set(figures)

@pytest.mark.full
@pytest.mark.filterwarnings('ignore::ResourceWarning', 'ignore::pytest.PytestUnraisableExceptionWarning')     # Spark's
def test_spark(made, file, monkeypatch):
    "The lines of chapter 15, word for word"
    pytest.importorskip('pyspark', reason='pyspark is not installed')
    cells = nbformat.read(NBS/'further'/'15_scale.ipynb', as_version=4).cells
    lines = '\n'.join(c.source for c in cells if c.source.startswith('#| eval: false'))
    names = {'file': file, 'np': np, 'Recommender': Recommender}
    exec(lines, names)
    rec = names['rec']
    names['spark'].stop()
    t = made.sample(2000, random_state=0)
    assert ((rec.predict(t.user, t.movie) - t.rating)**2).mean() < .8*made.rating.var()
    assert len(rec.recommend(int(t.user.iloc[0]), k=5)) == 5
