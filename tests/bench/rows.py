"""The rows of the bench and what is claimed of them.

`name`, `kind` (what it sees: ratings, side features, side and day), `group`
`predict`       module:function
`needs`         modules without which a peer's row says that it's missing
`default`       settings that it comes with
`space`         more settings are drawn from here
`trials`        how many settings are tried, the default among them, in each split's own training part
`while_trying`  settings for the trials alone
`tries`         a function that gives what is tried in place of random draws, for the `rung` of a ladder
`wider`         all values of a setting, in order: while the best trial is at an edge of those tried, the next is tried
`task`          'lists': the row makes lists, not ratings; its settings are chosen by NDCG@10
`ranks`         False: it can't make a list (one number for all movies)
`ensemble`      it averages several models
`earlier`       about how many trials shaped its defaults before, all on rows of u1's training part
`confirm`       run it on the five random splits as well
`seeds`         with how many seeds it's run on the test rows of a fold; the first one counts

`predict`, `kind`, `trials`, `default`, `space`, `while_trying`, `rung`, `seeds` and `task` enter a digest that is
stored with each result: a row that changes must be run anew. `wider` doesn't: a result whose best trial is at no edge
stays as it is, and for another the search goes on from there."""

def row(name, predict, kind='ratings', group='peer', needs=(), trials=0, default=None, space=None, **more):
    "A row with everything that isn't said left empty"
    return dict(name=name, predict=predict, kind=kind, group=group, needs=list(needs), trials=trials,
                default=default or {}, space=space or {}, **more)

# A sampler learns its own precisions; only the rank is left to choose, on shorter chains
MYFM = dict(needs=['myfm'], trials=4, default=dict(rank=10), space=dict(rank=[5, 7, 14, 20]),
            while_trying=dict(n_iter=100), wider=dict(rank=[1, 2, 3, 5, 7, 10, 14, 20, 28, 40, 56, 80]))

# The numbers of its examples/ml-100k-extended.ipynb, as they are
EXAMPLE = dict(needs=['myfm'], default=dict(rank=10, n_iter=512))

# Chapter 12's own rows: 24 trials each. It stores them for u1 to u5, but those of the first two rungs for u1 alone:
# elsewhere the bench tries u1's settings itself
LADDER = dict(group='ours', needs=['collab_nb.further.sets'], trials=24, tries='ours:ladder_tries', earlier=260)

# Chapter 13's sampler learns its own precisions, too; the blend takes what the library comes with, and finds its
# weights in the training part
SHORT = dict(n_samples=50, burn_in=30)
CHAINS = dict(group='ours', needs=['collab_nb.further.sets', 'collab_nb.further.sampler'], while_trying=SHORT)
SAMPLED = dict(trials=3, default=dict(n_factors=20), space=dict(n_factors=[10, 15]), earlier=40, **CHAINS)
BLEND = dict(ensemble=True, earlier=300, **CHAINS)

# Lists: chapter 09's models, and a peer
LISTS = dict(task='lists', trials=24)

ROWS = [
    row('global mean', 'ours:global_mean', group='floor', ranks=False),
    row('movie and user means, damped', 'ours:means', group='floor'),
    row('fastai collab_learner, by default', 'ours:fastai', group='fastai'),
    row('fastai collab_learner, each rating once an epoch', 'ours:mended', group='fastai'),
    row('Cornac MF', 'peers:cornac', needs=['cornac'], trials=24,
        space=dict(k=[10, 20, 50, 100, 200], max_iter=[20, 40, 80, 120, 200], learning_rate=(.003, .03),
                   lambda_reg=(.01, .2)),
        wider=dict(k=[5, 10, 20, 50, 100, 200, 400, 800], max_iter=[20, 40, 80, 120, 200, 300, 400])),
    row('LensKit BiasedMF', 'peers:lenskit', needs=['lenskit'], trials=24,
        space=dict(embedding_size=[10, 20, 50, 100], epochs=[5, 10, 20], regularization=(.03, .5),
                   damping=[0., 2., 5., 10.]),
        wider=dict(embedding_size=[5, 10, 20, 50, 100, 200, 400], epochs=[2, 3, 5, 10, 20, 40],
                   damping=[0., 2., 5., 10., 20.])),
    row('Surprise SVD', 'peers:surprise', needs=['surprise'], trials=24,
        space=dict(n_factors=[20, 50, 100, 200], n_epochs=[20, 40, 60, 80], lr_all=(.003, .02), reg_all=(.03, .2)),
        wider=dict(n_factors=[10, 20, 50, 100, 200, 400, 800], n_epochs=[20, 40, 60, 80, 120, 160, 240])),
    row('Surprise SVD++', 'peers:surprise_svdpp', needs=['surprise'], trials=6,
        default=dict(n_factors=20, n_epochs=20, lr_all=.007, reg_all=.02),
        space=dict(n_factors=[10, 20], n_epochs=[20, 30], lr_all=(.003, .01), reg_all=(.02, .1)),
        wider=dict(n_factors=[3, 5, 10, 20, 40], n_epochs=[10, 20, 30, 40, 60, 80])),
    row('myFM, ids alone', 'peers:myfm', **MYFM),
    row('myFM, SVD++', 'peers:myfm_svdpp', **MYFM),
    row('myFM, SVD++ flipped', 'peers:myfm_flipped', confirm=True, **MYFM),
    row('myFM, SVD++ flipped, ordinal', 'peers:myfm_ordinal', **MYFM),
    row('myFM, SVD++ flipped + side', 'peers:myfm_flipped', kind='side', **MYFM),
    row('myFM, SVD++ flipped + side + day', 'peers:myfm_flipped', kind='day', **MYFM),
    row('myFM, SVD++ flipped + side + day, ordinal', 'peers:myfm_ordinal', kind='day', **MYFM),
    row("myFM, SVD++ flipped + side + the user's day", 'peers:myfm_user_day', kind='day', **MYFM),
    row('myFM, as its own example has it', 'peers:myfm_example', kind='day', **EXAMPLE),
    row('myFM, as its own example has it, ordinal', 'peers:myfm_example_ordinal', kind='day', **EXAMPLE),
    row('dot product and biases (chapter 05)', 'ours:factors', group='ours', trials=24,
        space=dict(n_factors=[5, 10, 20, 50], bs=[256, 1024], lr=(.003, .05), wd=(.1, 2.), epochs=[5, 10])),
    row('biased factors, a prior each', 'ours:plain_factors', rung='biased factors', **LADDER),
    row('SVD++', 'ours:svdpp', rung='+ what they rated', **LADDER),
    row('SVD++ flipped', 'ours:ladder', rung='+ who rated it', confirm=True, seeds=3, **LADDER),
    row('SVD++ flipped, five seeds', 'ours:five_seeds', rung='+ who rated it', ensemble=True, **LADDER),
    row('SVD++ flipped + side', 'ours:ladder', kind='side', rung='+ tags', seeds=3, **LADDER),
    row('SVD++ flipped + side + day', 'ours:ladder', kind='day', rung='+ day', seeds=3, **LADDER),
    row('sampled', 'ours:sampled', **SAMPLED),
    row('sampled + side', 'ours:sampled', kind='side', **SAMPLED),
    row('sampled + side + day', 'ours:sampled', kind='day', **SAMPLED),
    row('blend', 'ours:blended', confirm=True, seeds=3, **BLEND),
    row('blend + side', 'ours:blended', kind='side', **BLEND),
    row('blend + side + day', 'ours:blended', kind='day', seeds=3, **BLEND),
    row('popularity', 'ours:popularity', group='floor', task='lists'),
    row('implicit, ALS', 'peers:implicit_als', needs=['implicit'], space=dict(
        factors=[16, 32, 64, 128], regularization=(.01, 10.), alpha=(1., 40.), iterations=[15]), **LISTS),
    row('implicit, BM25 neighbors', 'peers:implicit_bm25', needs=['implicit'], space=dict(
        K=[10, 20, 50, 100, 200, 400], K1=(.1, 10.), B=(.05, .95)), **LISTS),
    row('iALS (chapter 09)', 'ours:ials', group='ours', needs=['collab_nb.ranking'], space=dict(
        n_factors=[16, 32, 64, 128], reg=(1., 100.), alpha=(.03, 3.)), **LISTS),
    row('EASE (chapter 09)', 'ours:ease', group='ours', needs=['collab_nb.ranking'], space=dict(reg=(10., 10_000.)),
        **LISTS),
]

# Paired gains that the page speaks of: how much lower is the RMSE of the second?
PAIRS = [
    ('fastai collab_learner, by default', 'fastai collab_learner, each rating once an epoch'),
    ('Surprise SVD', 'biased factors, a prior each'),
    ('biased factors, a prior each', 'SVD++'),
    ('SVD++', 'SVD++ flipped'),
    ('SVD++ flipped', 'SVD++ flipped, five seeds'),
    ('SVD++ flipped', 'SVD++ flipped + side'),
    ('SVD++ flipped + side', 'SVD++ flipped + side + day'),
    ('myFM, SVD++ flipped', 'myFM, SVD++ flipped, ordinal'),
    ('myFM, SVD++ flipped', 'SVD++ flipped'),
    ('myFM, SVD++ flipped + side', 'SVD++ flipped + side'),
    ('myFM, SVD++ flipped + side + day', 'SVD++ flipped + side + day'),
    ('SVD++ flipped', 'sampled'),
    ('SVD++ flipped', 'blend'),
    ('sampled', 'blend'),
    ('Surprise SVD', 'blend'),
    ('myFM, SVD++ flipped', 'blend'),
    ('myFM, SVD++ flipped + side', 'blend + side'),
    ('myFM, SVD++ flipped + side + day', 'blend + side + day'),
    ('myFM, SVD++ flipped', 'sampled'),
    ('myFM, SVD++ flipped, ordinal', 'sampled'),
    ('myFM, SVD++ flipped, ordinal', 'blend'),
    ('myFM, SVD++ flipped + side', 'sampled + side'),
    ('myFM, SVD++ flipped + side + day, ordinal', 'SVD++ flipped + side + day'),
    ('myFM, SVD++ flipped + side + day, ordinal', 'blend + side + day'),
    *((peer, mine) for peer in ('myFM, as its own example has it', 'myFM, as its own example has it, ordinal')
      for mine in ('SVD++ flipped + side + day', 'sampled + side + day', 'blend + side + day')),
]

# What others report for u1, and how they chose their epoch and split as far as paper or code show
PUBLISHED = [
    dict(name='GC-MC', source='van den Berg, Kipf and Welling, 2017', rmse=.910, sees='ratings',
         code='github.com/riannevdberg/gc-mc',
         how='settings on a fifth of u1.base; then all of u1.base for a fixed 1,000 epochs, the last one counts'),
    dict(name='GC-MC with features', source='the same', rmse=.905, sees='side', code='github.com/riannevdberg/gc-mc',
         how='the same'),
    dict(name='IGMC', source='Zhang and Chen, ICLR 2020', rmse=.905, sees='ratings', code='github.com/muhanzhang/IGMC',
         how='a fixed 80 epochs in its own command, which averages the last checkpoints'),
    dict(name='IMC-GAE', source='Shen et al., CIKM 2021', rmse=.897, sees='ratings', code='github.com/swtheing/IMC-GAE',
         how='a twentieth of u1.base stops the training'),
    dict(name='MG-GAT', source='Leng, Ruiz, Dong and Pentland, 2020', rmse=.890, sees='side',
         code='', how='as Papers with Code had it for u1; we have not seen the code'),
    dict(name='STAR-GCN', source='Zhang, Shi, Zhao and King, IJCAI 2019', rmse=.895, sees='ratings',
         code='github.com/jennyzhang0215/STAR-GCN',
         how='a tenth of u1.base stops the training; the test error of the best epoch there counts'),
    dict(name='GLocal-K', source='Han, Lim, Long, Burgstaller and Poon, CIKM 2021', rmse=.889, sees='ratings',
         code='github.com/usydnlp/Glocal_K',
         how='the released notebook has no validation rows: it reports the lowest test error of all its epochs'),
    dict(name='myFM, its own example', source='ml-100k-extended.ipynb in its repository', rmse=.883, sees='day',
         code='github.com/tohtsky/myFM',
         how='fixed settings, 512 samples, all of them averaged; zip codes among the features'),
    dict(name='myFM, its own example, ordinal', source='the same', rmse=.881, sees='day',
         code='github.com/tohtsky/myFM', how='the same'),
    dict(name='GHRS', source='Zamanzadeh Darban and Valipour, 2022', rmse=.887, sees='side',
         code='github.com/hadoov/GHRS',
         how='listed under u1, but the paper speaks of 5 and 10 folds; the released code ends before the prediction, '
             'and takes its features from ua.base, which is another split'),
]
