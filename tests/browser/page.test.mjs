// The page of a report in a real browser: what is drawn, what the keyboard and the mouse do, who can read
// it, on which screens and on paper.
import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm, stat } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { pathToFileURL } from 'node:url';

import { chromium } from 'playwright-core';

import { made } from './reports.mjs';

const AXE = createRequire(import.meta.url).resolve('axe-core/axe.min.js');
const RULES = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'];
const FAILING = ['drops-in-flight', 'abandons-job', 'hangs-past-deadline', 'cancels-handlers'];
const ALL = [...FAILING, 'reference-server', 'thousand'];
const SWITCHES = ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'];
const TIMELINE = 'figure.timeline';

let folder, browser, reports;

before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'report-page-'));
  reports = await made(folder);
  browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium', headless: true, args: SWITCHES });
});

after(async () => {
  await browser?.close();
  if (folder) await rm(folder, { recursive: true, force: true });
});

/** Opens a report; what the page complains of, and what it asks the network for, is in `complaints`. */
async function opened(name, options = {}) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, ...options });
  const page = await context.newPage();
  const complaints = [], address = pathToFileURL(join(reports[name], 'report.html')).href;
  page.on('console', message => complaints.push(message.text()));
  page.on('pageerror', error => complaints.push(String(error)));
  page.on('request', request => { if (request.url() !== address && !request.url().startsWith('data:')) complaints.push(request.url()); });
  await page.goto(address);
  return { page, complaints, close: () => context.close() };
}

const history = async (name, path) => (await readFile(join(reports[name], path), 'utf8')).trim().split('\n').map(line => ({ line, event: JSON.parse(line) }));
const told = page => page.evaluate(() => {
  const told = document.querySelector('.told');
  return told.hidden ? null : { title: told.querySelector('p').textContent, raw: told.querySelector('pre').textContent };
});

for (const name of ALL) {
  test(`${name}: opens without complaint, without the network, in one small file`, async () => {
    const begun = performance.now();
    const { page, complaints, close } = await opened(name);
    const took = performance.now() - begun;
    const timelines = await page.locator(TIMELINE).count();
    const loaded = await page.evaluate(() => performance.getEntriesByType('navigation')[0].loadEventEnd);
    const { size } = await stat(join(reports[name], 'report.html'));
    console.log(`${name}: ${(size / 1e3).toFixed(0)} kB, loaded in ${loaded.toFixed(0)} ms (${took.toFixed(0)} ms with the browser's own work)`);
    assert.deepEqual(complaints, []);
    assert.equal(timelines > 0, name !== 'reference-server', 'what failed has a timeline');
    assert.ok(size < 5e6, `${size} bytes`);
    assert.ok(loaded < 5000, `${loaded} ms`);
    await close();
  });

  test(`${name}: says first what it is about`, async () => {
    const { page, close } = await opened(name);
    const report = JSON.parse(await readFile(join(reports[name], 'report.json'), 'utf8'));
    assert.match(await page.locator('h1').textContent(), new RegExp(`^${report.verdict}`));
    const headings = await page.locator('h2').allTextContents();
    const expected = ['Invariants', 'How long it took', 'Coverage', 'Once more', 'Plan and trials', 'Settings and environment'];
    assert.deepEqual(headings.slice(-expected.length), expected);
    assert.equal(headings[0] === 'Do this first', report.verdict === 'violated');
    assert.equal(await page.locator('details table tbody tr').count(), report.trials.length);
    assert.equal(await page.locator('table.invariants tbody tr').count(), report.invariants.length);
    assert.equal(await page.locator('table.coverage tbody tr').count(), report.coverage.filter(cell => cell.trials > 0).length);
    await close();
  });

  for (const colorScheme of name === 'thousand' ? ['light'] : ['light', 'dark']) {
    test(`${name}: axe finds no violation (${colorScheme})`, async () => {
      const { page, close } = await opened(name, { colorScheme });
      // A thousand rows are like each other.
      if (name !== 'thousand') await page.evaluate(() => document.querySelectorAll('details').forEach(it => { it.open = true; }));
      if (name !== 'reference-server') { await page.focus('.plot'); await page.keyboard.press('ArrowRight'); }
      await page.addScriptTag({ path: AXE });
      const { violations } = await page.evaluate(values => globalThis.axe.run({ runOnly: { type: 'tag', values } }), RULES);
      const found = violations.map(it => `${it.id}: ${it.help}: ${it.nodes.slice(0, 3).map(node => node.html.slice(0, 200)).join(' | ')}`);
      assert.deepEqual(found, []);
      await close();
    });
  }

  for (const width of [360, 1280]) {
    test(`${name}: nothing sticks out at ${width} px`, async () => {
      const { page, close } = await opened(name, { viewport: { width, height: 740 } });
      await page.evaluate(() => document.querySelectorAll('details').forEach(it => { it.open = true; }));
      const wide = await page.evaluate(() => document.documentElement.scrollWidth);
      assert.ok(wide <= width, `${wide} px`);
      const cut = await page.evaluate(() => [...document.querySelectorAll('figure .plot')].filter(it => it.scrollWidth > it.clientWidth).length);
      assert.equal(cut, 0, 'every drawing fits');
      await close();
    });
  }

  test(`${name}: is whole on paper`, async () => {
    const { page, close } = await opened(name, { colorScheme: 'dark' });
    await page.emulateMedia({ media: 'print', colorScheme: 'dark' });
    await page.evaluate(() => dispatchEvent(new Event('beforeprint')));
    const paper = await page.evaluate(() => ({
      closed: document.querySelectorAll('details:not([open])').length,
      body: getComputedStyle(document.body).backgroundColor,
      card: getComputedStyle(document.querySelector('.card')).backgroundColor,
      ink: getComputedStyle(document.body).color,
      buttons: [...document.querySelectorAll('button')].filter(it => it.checkVisibility()).length,
      clipped: [...document.querySelectorAll('.plot, .scroll')].filter(it => getComputedStyle(it).overflowX !== 'visible').length,
    }));
    assert.deepEqual(paper, { closed: 0, body: 'rgb(255, 255, 255)', card: 'rgb(255, 255, 255)', ink: 'rgb(0, 0, 0)', buttons: 0, clipped: 0 });
    await page.setViewportSize({ width: 700, height: 1000 });
    const drawings = await page.evaluate(() => [...document.querySelectorAll('figure svg')].filter(it => it.getBoundingClientRect().right > innerWidth + 1).length);
    assert.equal(drawings, 0, 'drawings end with the page');
    if (name === FAILING[0]) assert.equal((await page.pdf({ format: 'A4' })).subarray(0, 5).toString(), '%PDF-');
    await page.evaluate(() => dispatchEvent(new Event('afterprint')));
    assert.notEqual(await page.locator('details:not([open])').count(), 0, 'and as it was, afterwards');
    await close();
  });
}

for (const name of FAILING) {
  describe(`${name}: the timeline`, () => {
    test('is to scale, with what the history says', async () => {
      const { page, close } = await opened(name);
      await page.locator(TIMELINE).first().getByRole('button', { name: 'All of it' }).click();
      const lines = await history(name, await page.locator('.failure p.source > code').first().textContent());
      const signal = lines.find(({ event }) => event.event === 'signal-sent').event;
      const known = new Set(lines.map(({ line }) => JSON.stringify(JSON.parse(line))));
      const drawn = await page.locator(TIMELINE).first().evaluate(figure => ({
        from: Number(figure.dataset.from), to: Number(figure.dataset.to),
        left: Number(figure.querySelector('.ground').getAttribute('x1')), right: Number(figure.querySelector('.ground').getAttribute('x2')),
        events: [...figure.querySelectorAll('.ev')].map(it => ({ a: Number(it.dataset.a), b: Number(it.dataset.b ?? it.dataset.a), x: Number(it.getAttribute('x')), width: Number(it.getAttribute('width') ?? 0), raw: it.dataset.raw })),
        ticks: [...figure.querySelectorAll('.tick')].map(it => ({ a: Number(it.dataset.a), x: Number(it.firstChild.getAttribute('x1')) })),
        verticals: [...figure.querySelectorAll('.vertical')].map(it => ({ a: Number(it.dataset.a), x: Number(it.firstChild.getAttribute('x1')), label: it.textContent.trim() })),
        lanes: [...figure.querySelectorAll('.lane')].map(it => it.getAttribute('aria-label')),
      }));
      const x = ms => drawn.left + (ms - drawn.from) / (drawn.to - drawn.from) * (drawn.right - drawn.left);
      const near = (one, other, what) => assert.ok(Math.abs(one - other) < 0.6, `${what}: ${one} and ${other}`);
      for (const event of drawn.events) {
        near(event.x, Math.max(drawn.left, x(event.a)), event.raw);
        if (event.b > event.a) near(event.width, Math.max(0.8, Math.min(drawn.right, x(event.b)) - event.x), event.raw);
        assert.ok(known.has(event.raw), `a line of the history: ${event.raw}`);
      }
      for (const it of [...drawn.ticks, ...drawn.verticals]) near(it.x, x(it.a), 'line');
      assert.ok(drawn.ticks.length > 2 && drawn.lanes.includes('listener'));
      assert.ok(drawn.verticals.some(({ label, a }) => label === 'SIGTERM' && Math.abs(a) < 1), 'the signal is at 0');
      // The instants are those of the events themselves, counted from the signal.
      const since = ns => (ns - signal.at) / 1e6;
      const ends = drawn.events.map(({ raw, b }) => ({ event: JSON.parse(raw), b })).filter(({ event }) => event.event === 'connection');
      for (const { event, b } of ends) assert.ok([event.established, event.ended].some(at => Math.abs(since(at) - b) < 1), `${JSON.stringify(event)} ends at ${b}`);
      await close();
    });

    test('is walked with the keyboard', async () => {
      const { page, close } = await opened(name);
      const lanes = await page.locator(TIMELINE).first().locator('.lane').count();
      for (let n = 0; n < 40; n++) {
        await page.keyboard.press('Tab');
        if (await page.evaluate(() => document.activeElement.matches('.plot[role=listbox]'))) break;
      }
      assert.ok(await page.evaluate(() => document.activeElement.matches('.plot[role=listbox]')), 'Tab comes to it');
      assert.equal(await told(page), null);
      const lane = () => page.evaluate(() => document.querySelector('.ev.on')?.closest('.lane').getAttribute('aria-label'));
      const seen = new Set();
      for (let n = 0; n < lanes; n++) { await page.keyboard.press('ArrowDown'); seen.add(await lane()); }
      assert.equal(seen.size, lanes, 'every lane is reached');
      await page.keyboard.press('ArrowUp');
      await page.keyboard.press('Home');
      const first = await told(page);
      await page.keyboard.press('End');
      const last = await told(page);
      assert.notDeepEqual(first, last);
      assert.match(last.title, /: .+[+-]\d/);
      assert.equal(typeof JSON.parse(last.raw).event, 'string');
      const active = await page.evaluate(() => document.getElementById(document.activeElement.getAttribute('aria-activedescendant'))?.getAttribute('aria-selected'));
      assert.equal(active, 'true', 'a screen reader is told as well');
      await page.keyboard.press('Escape');
      assert.equal(await told(page), null);
      await close();
    });

    test('is enlarged by keyboard, buttons and mouse', async () => {
      const { page, close } = await opened(name);
      const figure = page.locator(TIMELINE).first(), plot = figure.locator('.plot');
      const ticks = () => figure.locator('.tick text').allTextContents();
      await figure.getByRole('button', { name: 'All of it' }).click();
      const whole = await ticks();
      await plot.focus();
      await page.keyboard.press('+');
      await page.keyboard.press('+');
      const near = await ticks();
      assert.notDeepEqual(near, whole);
      await page.keyboard.press('-');
      assert.notDeepEqual(await ticks(), near);
      await page.keyboard.press('0');
      assert.deepEqual(await ticks(), whole);
      await figure.getByRole('button', { name: 'Zoom in' }).click();
      assert.notDeepEqual(await ticks(), whole);
      await figure.getByRole('button', { name: 'All of it' }).click();
      assert.deepEqual(await ticks(), whole);
      const box = await plot.boundingBox();
      await page.mouse.move(box.x + 400, box.y + 40);
      await page.mouse.down();
      await page.mouse.move(box.x + 700, box.y + 40, { steps: 4 });
      await page.mouse.up();
      assert.notDeepEqual(await ticks(), whole, 'what is dragged over is enlarged');
      await page.mouse.dblclick(box.x + 500, box.y + 30);
      assert.deepEqual(await ticks(), whole);
      await page.keyboard.down('Control');
      for (let n = 0; n < 4; n++) await page.mouse.wheel(0, -240);
      await page.keyboard.up('Control');
      await page.waitForFunction(before => [...document.querySelectorAll('figure.timeline')[0].querySelectorAll('.tick text')].map(it => it.textContent).join() !== before, whole.join());
      await close();
    });

    test('tells what is under the mouse', async () => {
      const { page, close } = await opened(name);
      await page.locator(TIMELINE).first().scrollIntoViewIfNeeded();
      const place = await page.locator(TIMELINE).first().evaluate(figure => {
        const all = [...figure.querySelectorAll('rect.ev:not(.s-idle)')].map(it => it.getBoundingClientRect());
        const { x, y, width, height } = all.reduce((widest, it) => it.width > widest.width ? it : widest);
        return [x + width / 3, y + height / 2];
      });
      await page.mouse.move(...place);
      assert.match((await told(page)).raw, /^\{"at"/);
      await page.locator('.told button').first().click();
      assert.equal(await told(page), null);
      await close();
    });

    test('has a command that is copied', async () => {
      const { page, close } = await opened(name, { permissions: ['clipboard-read', 'clipboard-write'] });
      await page.locator('.first .shell button').click();
      await page.getByText('Copied').first().waitFor();
      const text = await page.locator('.first .shell code').textContent();
      assert.match(text, /^shutdown-check replay /);
      assert.equal(await page.evaluate(() => navigator.clipboard.readText()), text);
      await close();
    });
  });
}

test('a loss that is over at once is shown enlarged, with the part that is seen; on paper there is all of it', async () => {
  const { page, close } = await opened('cancels-handlers');
  const figure = page.locator(TIMELINE).first();
  const seen = () => figure.evaluate(figure => ({
    from: Number(figure.dataset.from), to: Number(figure.dataset.to), range: figure.querySelector('.range').textContent,
    ticks: [...figure.querySelectorAll('.tick')].map(it => Number(it.dataset.a)),
    lost: [...figure.querySelectorAll('.evidence .m-lost')].filter(it => it.checkVisibility()).map(it => Number(it.dataset.a)),
  }));
  const first = await seen();
  assert.ok(first.lost.length > 0 && first.ticks.at(-1) < first.to / 4, JSON.stringify(first));
  assert.match(first.range, /^-.+ to \+.+ of -.+ to \+/);
  await figure.getByRole('button', { name: 'All of it' }).click();
  const whole = await seen();
  assert.equal(whole.range, '');
  assert.ok(whole.ticks.at(-1) > whole.to / 2, JSON.stringify(whole));
  await page.evaluate(() => dispatchEvent(new Event('beforeprint')));
  assert.ok((await seen()).ticks.at(-1) > whole.to / 2);
  await page.evaluate(() => dispatchEvent(new Event('afterprint')));
  assert.deepEqual((await seen()).ticks, first.ticks, 'and as at first, afterwards');
  await close();
});

test('the columns of coverage stand under their names, on the screen and on paper', async () => {
  const { page, close } = await opened('drops-in-flight');
  for (const media of ['screen', 'print']) {
    await page.emulateMedia({ media });
    const [name, cell] = await page.evaluate(() => ['table.coverage thead th:last-child', 'table.coverage tbody td:last-child'].map(it => document.querySelector(it).getBoundingClientRect().left));
    assert.ok(Math.abs(name - cell) < 2, `${media}: ${name} and ${cell}`);
  }
  await close();
});

test('without a script, everything is there', async () => {
  const { page, complaints, close } = await opened('drops-in-flight', { javaScriptEnabled: false });
  assert.deepEqual(complaints, []);
  const figure = page.locator(TIMELINE).first();
  assert.ok(await figure.locator('.lane').count() > 1);
  assert.ok(!await figure.getByRole('button', { name: 'Zoom in' }).isVisible(), 'no button that does nothing');
  await close();
});
