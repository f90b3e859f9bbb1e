// Lists and reasons for someone the model never saw: what collab_nb/serving.py does, in the reader's own browser.

function dot(a, b, from = 0, n = b.length) {
  let s = 0;
  for (let i = 0; i < n; i++) s += a[from+i]*b[i];
  return s;
}

/** The lower triangle L of a positive definite matrix, row by row: A = L L' (Cholesky). */
function cholesky(A, d) {
  const L = new Float64Array(d*d);
  for (let i = 0; i < d; i++) for (let j = 0; j <= i; j++) {
    let s = A[i*d+j];
    for (let k = 0; k < j; k++) s -= L[i*d+k]*L[j*d+k];
    L[i*d+j] = i === j ? Math.sqrt(Math.max(s, 1e-12)) : s/L[j*d+j];
  }
  return L;
}

/** x of A x = b, with L from `cholesky`. */
function solve(L, b) {
  const d = b.length, x = Float64Array.from(b);
  for (let i = 0; i < d; i++) {
    for (let k = 0; k < i; k++) x[i] -= L[i*d+k]*x[k];
    x[i] /= L[i*d+i];
  }
  for (let i = d-1; i >= 0; i--) {
    for (let k = i+1; k < d; k++) x[i] -= L[k*d+i]*x[k];
    x[i] /= L[i*d+i];
  }
  return x;
}

/** A += sum of w x x' over the rows x of X, a list of vectors. */
function addOuter(A, X, w) {
  const d = Math.sqrt(A.length);
  X.forEach((x, n) => {
    for (let i = 0; i < d; i++) {
      const f = w[n]*x[i];
      if (f) for (let j = 0; j < d; j++) A[i*d+j] += f*x[j];
    }
  });
  return A;
}

function diagonal(d, v) {
  const A = new Float64Array(d*d);
  for (let i = 0; i < d; i++) A[i*d+i] = v;
  return A;
}

/** The rating of a score, the slope there, and the slope of the slope. */
function squeeze(z, range) {
  if (!range) return [z, 1, 0];
  const [lo, hi] = range, s = 1/(1+Math.exp(-z)), slope = (hi-lo)*s*(1-s);
  return [lo + (hi-lo)*s, slope, slope*(1-2*s)];
}

/** The rows of some items, with a 1 for the user's bias where the item's own is: (n) vectors of d+1 numbers. */
function design(m, pairs) {
  return pairs.map(([p]) => {
    const x = Float64Array.from(m.table.subarray(p*m.width, (p+1)*m.width));
    x[m.width-1] = 1;
    return x;
  });
}

/** How far the user is from `start`: ridge regression behind a sigmoid, by damped Gauss-Newton steps. */
function gaussNewton(X, z, stars, ridge, range) {
  const d = X[0].length;
  const at = c => {
    const e = [], slope = [];
    let loss = ridge*dot(c, c);
    X.forEach((x, n) => {
      const [value, s] = squeeze(z[n]+dot(x, c), range);
      e.push(stars[n]-value);
      slope.push(s);
      loss += e[n]**2;
    });
    return {c, e, slope, loss};
  };
  let now = at(new Float64Array(d)), damp = 0, L = null;
  for (let step = 0; step < 50; step++) {
    const push = now.c.map(v => -ridge*v);
    X.forEach((x, n) => { for (let j = 0; j < d; j++) push[j] += now.slope[n]*now.e[n]*x[j]; });
    L ??= cholesky(addOuter(diagonal(d, ridge+damp), X, now.slope.map(s => s*s)), d);
    const move = solve(L, push), next = at(now.c.map((v, j) => v+move[j]));
    const gain = now.loss-next.loss, worse = gain < -1e-12*now.loss;
    damp = worse ? 10*Math.max(damp, ridge) : damp/10;
    if (gain >= 0) now = next;
    if (!worse && gain <= 1e-12*now.loss) break;
    if (step < 1 || worse) L = null;     // the curvature hardly changes after two steps
  }
  return now.c;
}

/** Models of stars ('stars'), perhaps with sets of who rated what ('sets'). */
const stars = {
  needsStars: true,
  start(pairs) {
    if (!this.members) return Float64Array.from(this.center);
    const sum = this.average.map(v => this.typical*v), size = Math.max(1, pairs.length+this.typical);
    for (const [p] of pairs) for (let j = 0; j < this.width; j++) sum[j] += this.members[p*this.width+j];
    return Float64Array.from(this.base, (v, j) => v + sum[j]/Math.sqrt(size));
  },
  vector(pairs) {
    const start = this.start(pairs);
    if (!pairs.length) return start;
    const shrink = Float64Array.from(start, (_, j) => (this.weights?.[j] ?? 1)**-.5);
    const X = design(this, pairs), z = X.map((x, n) => this.table[(pairs[n][0]+1)*this.width-1] + dot(start, x));
    const c = gaussNewton(X.map(x => x.map((v, j) => v*shrink[j])), z, pairs.map(p => p[1]), this.ridge, this.range);
    return start.map((v, j) => v + shrink[j]*c[j]);
  },
  without({pairs, vector}) {     // one Newton step from the optimum; sets fold in again
    if (this.members) return pairs.map((_, n) => this.vector(pairs.toSpliced(n, 1)));
    const X = design(this, pairs), d = this.width;
    const at = X.map((x, n) => squeeze(this.table[(pairs[n][0]+1)*d-1] + dot(vector, x), this.range));
    const e = at.map(([value], n) => pairs[n][1]-value), curve = at.map(([, s, bend], n) => s*s-e[n]*bend);
    const L = cholesky(addOuter(diagonal(d, this.ridge), X, curve), d);
    return X.map((x, n) => {
      const near = solve(L, x), by = at[n][1]*e[n]/(1-curve[n]*dot(near, x));
      return vector.map((v, j) => v-near[j]*by);
    });
  },
  score(vector, p) {
    const from = p*this.width, d = this.width-1;
    return dot(this.table, vector, from, d) + this.table[from+d];
  },
  show({vector}, z) { return squeeze(z+vector.at(-1), this.range)[0]; },
};

/** Models of who has what ('implicit'): 1 for what someone has, and 0, at a lower weight, for all the rest. */
const implicit = {
  needsStars: false,
  background() {     // the same for everybody
    const d = this.width-1, gram = new Float64Array(d*d), rest = new Float64Array(d);
    for (let p = 0; p < this.n; p++) {
      const y = this.table.subarray(p*this.width, p*this.width+d), bias = this.table[(p+1)*this.width-1];
      if (p < this.trained) addOuter(gram, [y], [1]);
      if (bias) for (let j = 0; j < d; j++) rest[j] += bias*y[j];
    }
    return this.shared = {gram, rest};
  },
  /** Both sides of the equations, but for the penalty; and what each thing someone has adds to them. */
  equations(pairs) {
    const {gram, rest} = this.shared ?? this.background(), d = this.width-1;
    const parts = pairs.map(([p, w]) => ({
      y: this.table.subarray(p*this.width, p*this.width+d), more: this.alpha*this.weight*w,
      target: 1 + this.alpha*this.weight*w*(1-this.table[(p+1)*this.width-1]),
    }));
    const A = addOuter(Float64Array.from(gram), parts.map(t => t.y), parts.map(t => t.more)), b = rest.map(v => -v);
    for (const {y, target} of parts) for (let j = 0; j < d; j++) b[j] += target*y[j];
    return {A, b, parts, weight: parts.reduce((s, t) => s+t.more, this.trained)};
  },
  solved(A, b, weight) {
    const d = b.length, penalty = this.reg*(weight/this.row_weight)**this.nu;
    for (let j = 0; j < d; j++) A[j*d+j] += penalty;
    return Float64Array.of(...solve(cholesky(A, d), b), 0);
  },
  vector(pairs) {
    const {A, b, weight} = this.equations(pairs);
    return this.solved(A, b, weight);
  },
  without({pairs}) {
    const {A, b, parts, weight} = this.equations(pairs);
    return parts.map(({y, more, target}) =>
      this.solved(addOuter(A.slice(), [y], [-more]), b.map((v, j) => v-target*y[j]), weight-more));
  },
  score: stars.score,
  show: (_, z) => z,
};

/** Models of weights between items ('items'): a score is the sum over what someone has. */
const items = {
  needsStars: false,
  vector: pairs => pairs.map(([p]) => p),
  without({vector}) { return vector.map(p => vector.filter(q => q !== p)); },
  score(vector, p) { return vector.reduce((s, q) => s + this.table[q*this.n+p], 0); },
  show: (_, z) => z,
};

const common = {
  knows(p) { return !this.unknown.has(p); },
  /** Someone with these ratings, [[position, value], ...]. */
  fold(pairs) {
    const known = pairs.filter(([p]) => this.knows(p));
    return {pairs: known, vector: this.vector(known)};
  },
  /** What lists are sorted by, for each item. */
  rank({vector}) {
    const z = new Float64Array(this.n);
    for (let p = 0; p < this.n; p++) z[p] = this.knows(p) ? this.score(vector, p) : -Infinity;
    return z;
  },
  /** By how much each rating moves the score of an item, [[position, speaks], ...], strongest first. */
  explain(person, p) {
    if (person.pairs.some(([q]) => q === p)) return this.explain(this.fold(person.pairs.filter(([q]) => q !== p)), p);
    const shown = vector => this.show({vector}, this.score(vector, p)), all = shown(person.vector);
    person.others ??= this.without(person);
    return person.others.map((v, n) => [person.pairs[n][0], all-shown(v)])
      .sort((a, b) => Math.abs(b[1])-Math.abs(a[1]));
  },
};

/** A model as Python packs it, ready to use: tables are the bytes of float32 numbers. */
function openModel(packed) {
  const m = Object.assign(Object.create({...common, ...{stars, sets: stars, implicit, items}[packed.kind]}), packed);
  for (const name of ['table', 'members']) if (packed[name]) {
    m[name] = new Float32Array(Uint8Array.from(atob(packed[name]), c => c.charCodeAt(0)).buffer);
  }
  m.unknown = new Set(packed.unknown);
  return m;
}

/** The k best positions, best first; of equal scores, the one further up in the catalog comes first. */
function topK(scores, k) {
  const best = [];
  for (let p = 0; p < scores.length; p++) {
    if (scores[p] === -Infinity || (best.length === k && !(scores[p] > scores[best[k-1]]))) continue;
    let at = best.length;
    while (at && scores[p] > scores[best[at-1]]) at--;
    best.splice(at, 0, p);
    if (best.length > k) best.pop();
  }
  return best;
}

function standardized(z) {
  const known = z.filter(v => v !== -Infinity), mean = known.reduce((a, b) => a+b, 0)/known.length;
  const sd = Math.sqrt(known.reduce((s, v) => s + (v-mean)**2, 0)/known.length);
  return z.map(v => (v-mean)/Math.max(sd, 1e-9));
}

/** From one's own taste (share 0) to what most people rated (share 1). */
function towardPopular(z, counts, share) {
  const own = standardized(z), crowd = standardized(Float64Array.from(counts, Math.log1p));
  return own.map((v, p) => v === -Infinity ? v : (1-share)*v + share*crowd[p]);
}

/** Two people: each on the same scale, and the lower of the two counts. */
function together(z1, z2) {
  const other = standardized(z2);
  return standardized(z1).map((v, p) => Math.min(v, other[p]));
}
