// Timelines to the width of the window, zoom, and walking from event to event; copying commands.
// Without it, everything is shown all the same.
'use strict';
const status = document.querySelector('.quiet');
const SVG = 'http://www.w3.org/2000/svg';
const LEAST = 0.002;

const words = ms => {
  if (Math.abs(ms) < 1e-9) return '0';
  const size = Math.abs(ms), sign = ms < 0 ? '-' : '+';
  return sign + (size >= 1000 ? +(size / 1000).toFixed(3) + ' s' : size >= 1 ? +size.toFixed(3) + ' ms' : +(size * 1000).toFixed(1) + ' µs');
};
const visible = (element, is) => { element.style.display = is ? '' : 'none'; };
const svg = (name, attributes, text) => {
  const element = document.createElementNS(SVG, name);
  for (const key in attributes) element.setAttribute(key, attributes[key]);
  if (text) element.textContent = text;
  return element;
};

// A drawing whose time axis fits the width that there is.
class Plot {
  constructor(figure) {
    this.figure = figure;
    this.plot = figure.querySelector('.plot');
    this.svg = figure.querySelector('svg');
    this.axis = figure.querySelector('.axis');
    this.all = [Number(figure.dataset.from), Number(figure.dataset.to)];
    [this.from, this.to] = this.all;
    this.height = this.svg.viewBox.baseVal.height;
    const line = this.axis.querySelector('line');
    this.top = line ? line.getAttribute('y1') : 0;
    this.bottom = this.axis.dataset.bottom ?? (line ? line.getAttribute('y2') : this.height - 22);
    const at = element => ({ element, a: Number(element.dataset.a), b: Number(element.dataset.b ?? element.dataset.a) });
    this.events = [...figure.querySelectorAll('.ev')].map(at);
    this.dots = [...figure.querySelectorAll('.dot, .median')].map(at);
    this.verticals = [...figure.querySelectorAll('.vertical')].map(at);
    this.range = figure.querySelector('.range');
    this.labels = [...figure.querySelectorAll('.label')].map(element => ({ element, text: element.closest('.lane')?.getAttribute('aria-label') ?? element.textContent }));
    figure.classList.add('ready');
    [this.from, this.to] = this.start = this.story();
    this.fit();
  }

  // All of it, unless what was lost is over long before: then the time until that, and as much again.
  story() {
    const lost = this.events.filter(({ element }) => element.matches('.evidence .m-lost')).map(({ a }) => Math.abs(a));
    const reach = Math.max(1, ...lost);
    return lost.length && 3 * reach < (this.all[1] - this.all[0]) / 4 ? [-reach, 2 * reach] : this.all;
  }

  fit(width = this.plot.clientWidth) {
    this.width = Math.max(280, width);
    this.left = this.width < 640 ? 104 : 160;
    this.right = this.width - 20;
    this.svg.setAttribute('viewBox', `0 0 ${this.width} ${this.height}`);
    const most = Math.floor((this.left - 14) / 6.7);
    for (const { element, text } of this.labels) {
      element.textContent = text.length > most ? text.slice(0, most - 1) + '…' : text;
      element.setAttribute('x', this.left - 10);
    }
    for (const line of this.figure.querySelectorAll('.ground')) { line.setAttribute('x1', this.left); line.setAttribute('x2', this.right); }
    this.draw();
  }

  x(ms) { return this.left + (ms - this.from) / (this.to - this.from) * (this.right - this.left); }
  ms(x) { return this.from + (x - this.left) / (this.right - this.left) * (this.to - this.from); }

  draw() {
    for (const { element, a, b } of this.events) {
      const isSeen = b >= this.from && a <= this.to;
      const left = Math.max(this.left, this.x(a)), width = Math.max(0.8, Math.min(this.right, this.x(b)) - left);
      visible(element, isSeen);
      element.setAttribute('x', left);
      if (element.dataset.b === undefined) continue;
      element.setAttribute('width', width);
      const inside = element.nextElementSibling;
      if (!inside || !inside.matches('.in')) continue;
      inside.setAttribute('x', left);
      visible(inside, isSeen && width >= inside.textContent.length * 6.2 + 8);
    }
    for (const { element, a } of this.dots) element.setAttribute('transform', `translate(${this.x(a)} ${element.dataset.y})`);
    this.drawVerticals();
    this.drawAxis();
    if (this.range) this.range.textContent = this.from <= this.all[0] && this.to >= this.all[1] ? '' : `${words(this.from)} to ${words(this.to)} of ${words(this.all[0])} to ${words(this.all[1])}`;
  }

  // Labels that would stand on one another are put on two heights, as long as there is room.
  drawVerticals() {
    const last = [-Infinity, -Infinity];
    for (const { element, a } of this.verticals) {
      const isSeen = a >= this.from && a <= this.to, x = this.x(a), [line, text] = element.children;
      visible(element, isSeen);
      if (!isSeen) continue;
      const row = last.findIndex(before => x - before >= 62);
      if (row >= 0) last[row] = x;
      visible(text, row >= 0);
      for (const name of ['x1', 'x2']) line.setAttribute(name, x);
      line.setAttribute('y1', row === 0 ? 15 : 28);
      text.setAttribute('x', x);
      text.setAttribute('y', row === 1 ? 24 : 12);
    }
  }

  drawAxis() {
    const least = (this.to - this.from) / Math.max(2, Math.min(8, (this.right - this.left) / 105)), magnitude = 10 ** Math.floor(Math.log10(least));
    const step = [1, 2, 5, 10].map(n => n * magnitude).find(n => n >= least * 0.999);
    this.axis.replaceChildren();
    for (let n = Math.ceil(this.from / step); n <= Math.floor(this.to / step); n++) {
      const tick = svg('g', { class: 'tick', 'data-a': n * step }), where = this.x(n * step);
      tick.append(svg('line', { x1: where, x2: where, y1: this.top, y2: this.bottom }),
        svg('text', { x: where, y: this.bottom, dy: 15 }, words(n * step)));
      this.axis.append(tick);
    }
  }

  show(from, to) {
    const span = Math.min(Math.max(to - from, LEAST), this.all[1] - this.all[0]);
    this.from = Math.min(Math.max(this.all[0], from), this.all[1] - span);
    this.to = this.from + span;
    this.draw();
  }

  zoom(factor, around) {
    this.show(around - (around - this.from) * factor, around + (this.to - around) * factor);
  }

  signal() {
    const span = Math.min(20, (this.all[1] - this.all[0]) / 4);
    this.show(-span / 4, span * 3 / 4);
  }
}

// A timeline: a list of events, lane by lane, of which one is told at a time.
function walk(figure, plot, number) {
  const told = figure.querySelector('.told'), tools = figure.querySelector('.tools');
  const lanes = [...figure.querySelectorAll('.lane')].map(lane =>
    plot.events.filter(it => lane.contains(it.element)).sort((one, other) => one.a - other.a)).filter(lane => lane.length);
  const order = plot.events.slice().sort((one, other) => one.a - other.a);
  let chosen = null;
  tools.hidden = false;
  plot.events.forEach((event, n) => { event.element.id = `event-${number}-${n}`; });

  function tell(event) {
    if (chosen) { chosen.element.classList.remove('on'); chosen.element.setAttribute('aria-selected', 'false'); }
    chosen = event;
    told.hidden = !event;
    if (!event) { plot.plot.removeAttribute('aria-activedescendant'); return; }
    event.element.classList.add('on');
    event.element.setAttribute('aria-selected', 'true');
    plot.plot.setAttribute('aria-activedescendant', event.element.id);
    told.querySelector('p').textContent = event.element.querySelector('title').textContent;
    told.querySelector('pre').textContent = event.element.dataset.raw;
  }

  function go(event) {
    const span = plot.to - plot.from;
    if (event.b < plot.from || event.a > plot.to) plot.show(event.a - span / 2, event.a + span / 2);
    tell(event);
  }

  const centre = () => chosen ? Math.max(plot.all[0], chosen.a) : (plot.from + plot.to) / 2;
  const lane = () => lanes.findIndex(events => events.includes(chosen));
  function along(step) {
    const events = chosen ? lanes[lane()] : lanes[0];
    const at = chosen ? events.indexOf(chosen) + step : 0;
    return events[Math.min(events.length - 1, Math.max(0, at))];
  }
  function across(step) {
    if (!chosen) return lanes[0][0];
    const events = lanes[Math.min(lanes.length - 1, Math.max(0, lane() + step))];
    return events.reduce((best, event) => Math.abs(event.a - chosen.a) < Math.abs(best.a - chosen.a) ? event : best);
  }
  const pan = share => { const by = (plot.to - plot.from) * share; plot.show(plot.from + by, plot.to + by); };
  const keys = {
    ArrowRight: () => go(along(1)), ArrowLeft: () => go(along(-1)), ArrowDown: () => go(across(1)), ArrowUp: () => go(across(-1)),
    Home: () => go(order[0]), End: () => go(order[order.length - 1]), PageDown: () => pan(0.5), PageUp: () => pan(-0.5),
    '+': () => plot.zoom(0.5, centre()), '=': () => plot.zoom(0.5, centre()), '-': () => plot.zoom(2, centre()),
    0: () => plot.show(...plot.all), s: () => plot.signal(), Escape: () => tell(null),
  };
  figure.addEventListener('keydown', key => {
    if (key.ctrlKey || key.metaKey || key.altKey || !lanes.length) return;
    if (key.key !== 'Escape' && key.target !== plot.plot) return;
    if (!Object.hasOwn(keys, key.key)) return;
    if (key.key === 'Escape' && told.contains(document.activeElement)) plot.plot.focus();
    keys[key.key]();
    key.preventDefault();
  });
  for (const event of plot.events) {
    event.element.addEventListener('mouseenter', () => { if (!drag) tell(event); });
    event.element.addEventListener('click', () => tell(event));
  }
  told.querySelector('button').addEventListener('click', () => { tell(null); plot.plot.focus(); });
  tools.addEventListener('click', click => {
    const kind = click.target.dataset.zoom;
    if (kind === 'in') plot.zoom(0.5, centre());
    if (kind === 'out') plot.zoom(2, centre());
    if (kind === 'all') plot.show(...plot.all);
    if (kind === 'signal') plot.signal();
  });

  // With a mouse: what is dragged over is enlarged, the wheel zooms with Ctrl.
  let drag = null;
  const place = mouse => (mouse.clientX - plot.svg.getBoundingClientRect().left) * plot.width / plot.svg.clientWidth;
  plot.svg.addEventListener('pointerdown', down => {
    if (down.pointerType !== 'mouse' || down.button !== 0) return;
    drag = { from: place(down), box: svg('rect', { class: 'chosen', y: 28, height: plot.bottom - 28, x: 0, width: 0 }) };
    plot.svg.append(drag.box);
  });
  addEventListener('pointermove', move => {
    if (!drag) return;
    const [left, right] = [drag.from, place(move)].map(x => Math.min(plot.right, Math.max(plot.left, x))).sort((a, b) => a - b);
    Object.assign(drag, { left, right });
    drag.box.setAttribute('x', left);
    drag.box.setAttribute('width', right - left);
  });
  addEventListener('pointerup', () => {
    if (!drag) return;
    const { box, left, right } = drag;
    drag = null;
    box.remove();
    if (right - left > 5) plot.show(plot.ms(left), plot.ms(right));
  });
  plot.svg.addEventListener('dblclick', () => plot.show(...plot.all));
  plot.svg.addEventListener('wheel', wheel => {
    if (!wheel.ctrlKey) return;
    wheel.preventDefault();
    plot.zoom(wheel.deltaY < 0 ? 0.8 : 1.25, plot.ms(place(wheel)));
  }, { passive: false });
}

const plots = [...document.querySelectorAll('figure.timeline, figure.strip')].map(figure => new Plot(figure));
plots.filter(plot => plot.figure.matches('.timeline')).forEach((plot, number) => walk(plot.figure, plot, number));
addEventListener('resize', () => plots.forEach(plot => plot.fit()));

// On paper everything is open, and a drawing is as wide as a page.
let opened = [];
addEventListener('beforeprint', () => {
  const closed = [...document.querySelectorAll('details:not([open])')];
  closed.forEach(details => { details.open = true; });
  opened.push(...closed);
  plots.forEach(plot => { [plot.from, plot.to] = plot.all; plot.fit(700); });
});
addEventListener('afterprint', () => {
  opened.forEach(details => { details.open = false; });
  opened = [];
  plots.forEach(plot => { [plot.from, plot.to] = plot.start; plot.fit(); });
});

// Commands can be copied; a page that is opened as a file may not have the clipboard.
async function copy(text) {
  try { await navigator.clipboard.writeText(text); return true; } catch { /* the older way */ }
  const area = document.createElement('textarea');
  area.value = text;
  document.body.append(area);
  area.select();
  const done = document.execCommand('copy');
  area.remove();
  return done;
}
for (const shell of document.querySelectorAll('.shell')) {
  const button = document.createElement('button'), text = shell.querySelector('code').textContent;
  button.type = 'button';
  button.textContent = 'Copy';
  button.setAttribute('aria-label', `Copy ${text.trim().split('\n')[0]}`);
  button.addEventListener('click', async () => {
    const done = await copy(text);
    button.focus();
    button.textContent = status.textContent = done ? 'Copied' : 'Select it, and copy by hand';
    setTimeout(() => { button.textContent = 'Copy'; status.textContent = ''; }, 2000);
  });
  shell.append(button);
}
