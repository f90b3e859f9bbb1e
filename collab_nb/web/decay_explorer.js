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
    const lists = Array.from({length: n}, () => ({ids: [], left: []}));
    for (const triple of triples.training) {
      lists[triple[one]].ids.push(triple[other]);
      lists[triple[one]].left.push(triple[2] - mean);
    }
    return lists;
  };
  const byUser = listed(ratings.length, 0, 1), byMovie = listed(begin.length, 1, 0);

  // Solve A x = b by Cholesky, for a symmetric positive A (n, n) whose lower half is filled in; into `x`, from `at` on
  const solve = (A, b, n, x, at) => {
    for (let i = 0; i < n; i++) {
      for (let j = 0; j <= i; j++) {
        let rest = A[i*n + j];
        for (let k = 0; k < j; k++) rest -= A[i*n + k]*A[j*n + k];
        A[i*n + j] = i === j ? Math.sqrt(rest) : rest/A[j*n + j];
      }
      for (let k = 0; k < i; k++) b[i] -= A[i*n + k]*b[k];
      b[i] /= A[i*n + i];
    }
    for (let i = n - 1; i >= 0; i--) {
      for (let k = i + 1; k < n; k++) b[i] -= A[k*n + i]*x[at + k];
      x[at + i] = b[i]/A[i*n + i];
    }
  };

  // The best rows of one table, given the other: a ridge regression for each. Tables are flat, n numbers a row
  const ridge = (lists, other, n, wd) => {
    const found = new Float64Array(lists.length*n), A = new Float64Array(n*n), b = new Float64Array(n);
    lists.forEach(({ids, left}, row) => {
      A.fill(0);
      b.fill(0);
      for (let i = 0; i < n; i++) A[i*n + i] = wd;
      for (let r = 0; r < ids.length; r++) {
        const at = ids[r]*n;
        for (let i = 0; i < n; i++) {
          const value = other[at + i];
          b[i] += value*left[r];
          for (let j = 0; j <= i; j++) A[i*n + j] += value*other[at + j];
        }
      }
      solve(A, b, n, found, row*n);
    });
    return found;
  };

  const fit = (n, wd) => {
    let movies = Float64Array.from(begin.flatMap(row => row.slice(0, n))), users;
    for (let i = 0; i < sweeps; i++) {
      users = ridge(byUser, movies, n, wd);
      movies = ridge(byMovie, users, n, wd);
    }
    const error = rows => sum(rows.map(([u, m, rating]) => {
      let prediction = mean;
      for (let k = 0; k < n; k++) prediction += users[u*n + k]*movies[m*n + k];
      return (prediction - rating)**2;
    }))/rows.length;
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
