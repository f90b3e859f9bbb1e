start('decay_explorer', (root, {ratings, begin, decays, sweeps, n_factors, at, words, width, height, top}) => {
  const say = speaker(root);
  const state = root.live = {n_factors, at, curves: {}};

  // A row of text per user: 1 to 5 are training ratings, a to e the same for validation, and a dot is no rating
  const triples = {training: [], validation: []};
  ratings.forEach((row, user) => [...row].forEach((sign, movie) => {
    if (sign === '.') return;
    const hidden = 'abcde'.indexOf(sign) + 1;
    triples[hidden ? 'validation' : 'training'].push([user, movie, hidden || Number(sign)]);
  }));
  const mean = sum(triples.training.map(([,, rating]) => rating))/triples.training.length;
  const listed = (n, one, other) => {
    const lists = Array.from({length: n}, () => []);
    for (const triple of triples.training) lists[triple[one]].push([triple[other], triple[2] - mean]);
    return lists;
  };
  const byUser = listed(ratings.length, 0, 1), byMovie = listed(begin.length, 1, 0);

  // Solve A x = b for a symmetric positive A by Cholesky; A (rows, lower half) and b are overwritten
  const solve = (A, b) => {
    const n = b.length;
    for (let i = 0; i < n; i++) {
      for (let j = 0; j <= i; j++) {
        let rest = A[i][j];
        for (let k = 0; k < j; k++) rest -= A[i][k]*A[j][k];
        A[i][j] = i === j ? Math.sqrt(rest) : rest/A[j][j];
      }
      for (let k = 0; k < i; k++) b[i] -= A[i][k]*b[k];
      b[i] /= A[i][i];
    }
    for (let i = n - 1; i >= 0; i--) {
      for (let k = i + 1; k < n; k++) b[i] -= A[k][i]*b[k];
      b[i] /= A[i][i];
    }
    return b;
  };

  // The best rows of one table, given the other: a ridge regression for each
  const ridge = (lists, other, wd) => lists.map(list => {
    const n = other[0].length;
    const A = Array.from({length: n}, (_, i) => Array.from({length: i + 1}, (_, j) => i === j ? wd : 0));
    const b = new Array(n).fill(0);
    for (const [id, rating] of list) {
      const row = other[id];
      for (let i = 0; i < n; i++) {
        b[i] += row[i]*rating;
        for (let j = 0; j <= i; j++) A[i][j] += row[i]*row[j];
      }
    }
    return solve(A, b);
  });

  const fit = (n, wd) => {
    let movies = begin.map(row => row.slice(0, n)), users;
    for (let i = 0; i < sweeps; i++) {
      users = ridge(byUser, movies, wd);
      movies = ridge(byMovie, users, wd);
    }
    const error = rows => sum(rows.map(([u, m, rating]) =>
      (mean + sum(users[u].map((value, k) => value*movies[m][k])) - rating)**2))/rows.length;
    return {training: error(triples.training), validation: error(triples.validation)};
  };

  const curveOf = n => state.curves[n] ??= decays.map(wd => fit(n, wd));
  const bestOf = curve => curve.reduce((best, fit, i) => fit.validation < curve[best].validation ? i : best, 0);
  const spot = (error, i) => [width*i/(decays.length - 1), height*(1 - Math.min(1.2, error/top))];

  const update = () => {
    const curve = curveOf(state.n_factors);
    const best = bestOf(curve), now = curve[state.at];
    for (const kind of ['training', 'validation']) {
      set(find(root, kind), {d: path(curve.map((fit, i) => spot(fit[kind], i)))});
      const [cx, cy] = spot(now[kind], state.at);
      set(find(root, `${kind}-dot`), {cx, cy: Math.max(0, cy)});
      write(root, `now-${kind}`, fixed(now[kind]));
      write(root, `best-${kind}`, fixed(curve[best][kind]));
    }
    const [x] = spot(0, state.at);
    set(find(root, 'mark'), {x1: x, x2: x});
    write(root, 'now-wd', fixed(decays[state.at]));
    write(root, 'best-wd', fixed(decays[best]));
    write(root, 'wd-value', fixed(decays[state.at]));
    write(root, 'factors-value', state.n_factors);
    const verdict = words[state.at < best - 3 ? 'little' : state.at > best + 3 ? 'much' : 'right'];
    write(root, 'verdict', verdict);
    find(root, 'wd').setAttribute('aria-valuetext', fixed(decays[state.at]));
    root.querySelectorAll('[data-factors]').forEach(cell => {
      cell.classList.toggle('cnb-now', Number(cell.dataset.factors) === state.n_factors);
    });
    const plural = state.n_factors === 1 ? 'factor' : 'factors';
    say(`${state.n_factors} ${plural}, decay ${fixed(decays[state.at])}: training MSE ${fixed(now.training)}, `
        + `validation MSE ${fixed(now.validation)}. ${verdict}`);
  };

  const choose = changes => {
    Object.assign(state, changes);
    find(root, 'wd').value = state.at;
    update();
  };
  find(root, 'wd').addEventListener('input', event => choose({at: event.target.valueAsNumber}));
  find(root, 'factors').addEventListener('input', event => choose({n_factors: event.target.valueAsNumber}));
  const chart = root.querySelector('svg'), left = -chart.viewBox.baseVal.x;
  const drag = event => {
    if (event.type === 'pointermove' && !event.buttons) return;
    const box = chart.getBoundingClientRect();
    const x = (event.clientX - box.left)*chart.viewBox.baseVal.width/box.width - left;
    choose({at: clamp(Math.round(x/width*(decays.length - 1)), 0, decays.length - 1)});
  };
  chart.addEventListener('pointerdown', drag);
  chart.addEventListener('pointermove', drag);

  // Afterwards, one by one, the best decay for every number of factors
  const others = [...root.querySelectorAll('[data-best]')];
  const fillIn = () => {
    const cell = others.shift();
    if (!cell) return;
    cell.textContent = fixed(decays[bestOf(curveOf(Number(cell.dataset.best)))], 1);
    setTimeout(fillIn, 30);
  };
  update();
  setTimeout(fillIn, 30);
});
