"""`make scale`: chapter 15's figures, on tables in the shape of MovieLens from 100 thousand to 32 million ratings.

One thread each, one after the other, a quarter of an hour in all, on two cores that do nothing else. Tables and models
go to _bench/scale/ (1 GB), figures to collab_nb/scale.json with date, machine and versions. `--quick` tries all of it
on small tables in a minute and stores nothing. `--parts ring,lists` measures some parts anew."""
import argparse
import datetime
import importlib.metadata
import json
import os
import platform
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from protocol import cpu,whole

ROOT = Path(__file__).parents[2]
FILE = ROOT/'collab_nb'/'scale.json'
ONE  = {f'{k}_NUM_THREADS': '1' for k in ('OMP', 'MKL', 'OPENBLAS', 'NUMBA')} | {'POLARS_MAX_THREADS': '1'}
ENV  = {**os.environ, **ONE, 'PYTHONPATH': str(ROOT)}
# MovieLens-100k, -1M, -10M, -20M and -32M have these users, movies and ratings
SHAPES = [(943, 1_682, 100_000), (6_040, 3_706, 1_000_000), (69_878, 10_677, 10_000_000),
          (138_493, 26_744, 20_000_000), (200_948, 87_585, 32_000_000)]

def names(folder, shape):
    "The files of a table: ratings, and those held out"
    return [folder/f'{shape[0]}x{shape[1]}x{shape[2]}{what}.parquet' for what in ('', '-held')]

def child(what, *args):
    "Run a function of this file in a process of its own: what it returned"
    command = [sys.executable, __file__, '--child', what, *map(str, args)]
    res = subprocess.run(command, env=ENV, capture_output=True, text=True)
    if res.returncode: raise RuntimeError(f'{what}: {res.stderr[-2000:]}')
    return json.loads(res.stdout.splitlines()[-1])

def used():
    "Peak MB of this process"
    import resource
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak/1024 if sys.platform == 'linux' else peak/2**20

def make(folder, *shape):
    from collab_nb.further.scale import synth_parquet
    shape = tuple(map(int, shape))
    file,held = names(Path(folder), shape)
    truth = synth_parquet(file, *shape, held=held)
    import polars as pl
    rows = pl.read_parquet(held)
    floor = truth.floor(rows['user'].to_numpy(), rows['movie'].to_numpy())**.5
    file.with_suffix('.json').write_text(json.dumps(floor), encoding='utf-8')

def rmse(rec, held):
    "On held-out rows whose user and movie have been met, cut to one to five stars"
    import polars as pl
    rows = pl.read_parquet(held).filter(pl.col('user').is_in(rec.users), pl.col('movie').is_in(rec.items))
    preds = rec.predict(rows['user'].to_list(), rows['movie'].to_list())
    return float(((preds.clip(1, 5) - rows['rating'].to_numpy())**2).mean()**.5)

def fit(file, held, epochs, save=''):
    "Train from Parquet: seconds, memory, error"
    import polars as pl
    from collab_nb.further import scale
    with tempfile.TemporaryDirectory() as tiny:
        pl.DataFrame({'user': [1, 2], 'movie': [1, 2], 'rating': [1., 2.]}).write_parquet(Path(tiny)/'r.parquet')
        scale.fit_parquet(Path(tiny)/'r.parquet', epochs=1)     # compiles
    start,ends = time.process_time(),[]
    rec = scale.fit_parquet(file, epochs=int(epochs), progress=lambda share: ends.append(time.process_time()-start))
    total,peak = time.process_time()-start,used()
    if save: rec.save(save)
    epoch = statistics.median(b-a for a,b in zip(ends, ends[1:]))
    return {'CPU s': total, 'CPU s an epoch': epoch, 'peak MB': peak, 'RMSE': rmse(rec, held)}

def in_memory(file):
    "The peak of reading a table whole, and of an epoch of `fit_fast`"
    import pandas as pd
    import polars as pl
    from collab_nb.further.speed import fit_fast
    table = pl.read_parquet(file)
    fit_fast(pd.DataFrame({name: table[name].to_numpy() for name in table.columns}), reg=.03, nu=1., epochs=1)
    return {'peak MB': used()}

def torch_steps(file, n_users, n_items, steps, bs, device='cpu'):
    """Steps of PyTorch on the bias model, dense gradients and all; with several processes DistributedDataParallel, the
    batch split over them. Prints the seconds of a step"""
    import polars as pl
    import torch
    import torch.distributed as dist
    import torch.nn.functional as F
    from torch.nn.parallel import DistributedDataParallel
    from collab_nb.bias import DotProductBias
    torch.set_num_threads(1)
    world,rank = int(os.environ.get('WORLD_SIZE', 1)),int(os.environ.get('RANK', 0))
    model = DotProductBias(int(n_users)+1, int(n_items)+1, 50).to(device)
    size = sum(p.numel()*p.element_size() for p in model.parameters())
    if world > 1:
        dist.init_process_group('gloo')
        model = DistributedDataParallel(model)
    opt = torch.optim.Adam(model.parameters(), 5e-3, fused=True)
    share,times = int(bs)//world,[]
    rows = pl.read_parquet(file, n_rows=int(steps)*int(bs)).sample(fraction=1, shuffle=True, seed=rank)
    x = torch.stack([torch.from_numpy(rows[name].to_numpy().astype('int64')) for name in ('user', 'movie')], dim=1)
    x,y = x.to(device),torch.from_numpy(rows['rating'].to_numpy().copy()).to(device)
    for k in range(int(steps)):
        start,here = time.perf_counter(),slice(k*share, (k+1)*share)
        loss = F.mse_loss(model(x[here]), y[here])
        loss.backward()
        opt.step()
        opt.zero_grad()
        loss.item()     # waits for the device
        times.append(time.perf_counter()-start)
    if world > 1: dist.destroy_process_group()
    if not rank: print(json.dumps({'s': statistics.median(times[2:]), 'bytes': size}))

def lists(folder, path):
    "One user's list in ms, and everybody's to Parquet"
    from collab_nb.export import write_lists
    from collab_nb.serving import Recommender
    rec = Recommender.load(folder)
    def once(u):
        start = time.perf_counter()
        rec.recommend(u)
        return 1e3*(time.perf_counter()-start)
    once(rec.users[0])
    one = statistics.median(once(u) for u in random.Random(0).sample(rec.users, min(200, len(rec.users))))
    before,start = used(),time.process_time()
    rows = write_lists(rec, path, force=True)
    seconds = time.process_time()-start
    return {'one user ms': one, 'rows': rows, 'CPU s': seconds, 'peak MB': used(), 'loaded MB': before}

def command(file, out, epochs, world=1):
    "The command line that trains"
    start = [sys.executable, '-m']
    if world > 1: start += ['torch.distributed.run', '--standalone', '--nproc-per-node', str(world), '-m']
    return [*start, 'collab_nb.further.scale', str(file), '--out', str(out), '--epochs', str(epochs)]

def timed(*args, **kwargs):
    "Run the command: seconds on the clock, and those between the first and the last epoch"
    start = time.perf_counter()
    res = subprocess.run(command(*args, **kwargs), env=ENV, capture_output=True, text=True, check=True)
    whole = time.perf_counter()-start
    marks = [float(line.split(', ')[1].split()[0]) for line in res.stderr.splitlines() if line.startswith('epoch ')]
    return whole,marks[-1]-marks[0]

def tables(folder): return lambda out: (folder/out/'model.safetensors').read_bytes()

def growth(folder, shapes, epochs):
    "All tables in turn, three times: medians. Of the last one also half the rows, and twice the epochs"
    runs,rows = {shape: [] for shape in shapes},[]
    for _ in range(3):
        for shape in shapes:
            save = [folder/'model'] if shape == shapes[-1] else []
            runs[shape].append(child('fit', *names(folder, shape), epochs, *save))
    for shape,some in runs.items():
        file,got = names(folder, shape)[0],{k: statistics.median(r[k] for r in some) for k in some[0]}
        floor = json.loads(file.with_suffix('.json').read_text(encoding='utf-8'))
        rows.append({'ratings': shape[2], 'users': shape[0], 'movies': shape[1],
                     'ns a rating': round(1e9*got['CPU s an epoch']/shape[2], 1), 'CPU s': round(got['CPU s'], 2),
                     'CPU s an epoch': round(got['CPU s an epoch'], 2), 'peak MB': round(got['peak MB']),
                     'RMSE': round(got['RMSE'], 4), 'best possible': round(floor, 4)})
        print(rows[-1], flush=True)
    half = names(folder, (*shapes[-1][:2], shapes[-1][2]//2))
    res = {'growth': rows, 'half_peak': round(child('fit', *half, epochs)['peak MB'])}
    res['in_memory_peak'] = round(child('in_memory', file)['peak MB'])
    more = child('fit', *names(folder, shapes[-1]), 2*epochs)
    return res | {'more_epochs': {'epochs': 2*epochs, 'CPU s': round(more['CPU s'], 1), 'RMSE': round(more['RMSE'], 4)}}

def ring(folder, shapes, epochs):
    "One process and two, in turn, twice"
    file,got = names(folder, shapes[-1])[0],{1: [], 2: []}
    for _ in range(2):
        for world,times in got.items(): times.append(timed(file, folder/f'ring{world}', epochs, world))
    best = {world: [min(t) for t in zip(*times)] for world,times in got.items()}
    read = tables(folder)
    return {'ring': {'one': round(best[1][0], 1), 'two': round(best[2][0], 1), 'epochs_one': round(best[1][1], 1),
                     'epochs_two': round(best[2][1], 1), 'epochs': epochs, 'same': read('ring1') == read('ring2')}}

def killed(folder, shapes, epochs):
    "A run that's killed three times at random while it learns, and started again"
    file,kills,steps,rng = names(folder, shapes[-1])[0],[],[],random.Random(time.time())
    whole,_ = timed(file, folder/'straight', epochs)
    for _ in range(3):
        p = subprocess.Popen(command(file, folder/'killed', epochs), env=ENV, stderr=subprocess.DEVNULL)
        try: p.wait(after := rng.uniform(.25, .4)*whole)
        except subprocess.TimeoutExpired:
            p.send_signal(signal.SIGKILL)
            p.wait()
            kills.append(round(after, 1))
            files = {int(s.name[5:]): len(list(s.glob('*.npy'))) for s in (folder/'killed-work').glob('step-*')}
            steps.append(max((s for s,n in files.items() if n == max(files.values())), default=0))     # last whole one
    if kills: subprocess.run(command(file, folder/'killed', epochs), env=ENV, check=True, stderr=subprocess.DEVNULL)
    read = tables(folder)
    return {'killed': {'after_s': kills, 'at_step': steps, 'straight_s': round(whole, 1),
                       'same': read('killed') == read('straight')}}

def steps_of(folder, shape, *start, device='cpu'):
    "Seconds of a step, bytes of the model, steps in an epoch"
    bs = min(65_536, shape[2]//20)
    what = ['torch_steps', names(folder, shape)[0], *shape[:2], 12, bs, device]
    command = [sys.executable, *start, __file__, '--child', *what]
    res = subprocess.run([str(c) for c in command], env=ENV, capture_output=True, text=True, check=True)
    got = json.loads(next(line for line in res.stdout.splitlines() if line.startswith('{')))
    return got | {'batch': bs, 'steps_an_epoch': shape[2]//bs}

def parallel(folder, shapes, epochs):
    "Data parallel, one process and two"
    one = steps_of(folder, shapes[-1])
    two = steps_of(folder, shapes[-1], '-m', 'torch.distributed.run', '--standalone', '--nproc-per-node', '2')
    return {'data_parallel': {k: one[k] for k in ('batch', 'steps_an_epoch', 'bytes')} |
            {'s_one': round(one['s'], 3), 's_two': round(two['s'], 3)}}

def gpu(folder, shapes, epochs):
    "An epoch of PyTorch on a GPU, if there is one"
    import torch
    if not torch.cuda.is_available(): return {'gpu': None}
    got = steps_of(folder, shapes[-1], device='cuda')
    return {'gpu': {'device': torch.cuda.get_device_name(), 'epoch_s': round(got['s']*got['steps_an_epoch'], 1)}}

def all_lists(folder, shapes, epochs):
    got = child('lists', folder/'model', folder/'lists.parquet')
    return {'lists': {k: round(v, 1) for k,v in got.items()}}

PARTS = {'growth': growth, 'ring': ring, 'killed': killed, 'parallel': parallel, 'gpu': gpu, 'lists': all_lists}

def about():
    versions = {k: importlib.metadata.version(k) for k in ('numpy', 'numba', 'polars', 'torch')}
    return {'date': datetime.date.today().isoformat(), 'command': 'make scale', 'python': platform.python_version(),
            'machine': {'cpu': cpu(), 'cores': os.cpu_count(), 'system': platform.system()}, 'versions': versions}

def main():
    parser = argparse.ArgumentParser(prog='make scale', description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--quick', action='store_true', help='small tables; nothing is stored')
    parser.add_argument('--parts', default=','.join(PARTS), help=f'some of {",".join(PARTS)}')
    args = parser.parse_args()
    shapes = [(100, 80, 2_000), (400, 200, 20_000)] if args.quick else SHAPES
    folder,epochs = ROOT/'_bench'/('scale-quick' if args.quick else 'scale'),6
    folder.mkdir(parents=True, exist_ok=True)
    for shape in [*shapes, (*shapes[-1][:2], shapes[-1][2]//2)]:
        if not all(f.exists() for f in names(folder, shape)): child('make', folder, *shape)
    res = json.loads(FILE.read_text(encoding='utf-8')) if FILE.exists() and not args.quick else {}
    for name in args.parts.split(','):
        got = PARTS[name](folder, shapes, epochs)
        print(json.dumps(got), flush=True)
        res |= about() | got
        text = json.dumps(res, indent=1)+'\n'
        if not args.quick: whole(FILE, lambda f, text=text: f.write_text(text, encoding='utf-8'))

if __name__ == '__main__':
    if sys.argv[1:2] == ['--child']: print(json.dumps(globals()[sys.argv[2]](*sys.argv[3:])))
    else: main()
