// The reports that the page is tried with: of real runs, and one of a thousand trials made from them.
import { execFile } from 'node:child_process';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);
const program = process.env.SHUTDOWN_CHECK ?? new URL('../../target/debug/shutdown-check', import.meta.url).pathname;

/** What is tried, how, and the exit code that it gives. */
const RUNS = {
  'drops-in-flight': { code: 1, options: ['--trials=8', '--situation=load,slow-handler,one-request,queued'] },
  'abandons-job': { code: 1, options: ['--trials=4', '--situation=load,job-running'] },
  'hangs-past-deadline': { code: 1, options: ['--trials=4', '--situation=idle,slow-handler', '--deadline=1500ms'] },
  'cancels-handlers': { code: 1, options: ['--trials=4', '--situation=slow-handler,one-request'] },
  'reference-server': { code: 0, options: ['--trials=4', '--situation=load,slow-handler,idle'] },
};

/** Runs the program on each server, all at the same time; where each report is, by name. */
export async function made(folder) {
  await mkdir(folder, { recursive: true });
  const one = async ([name, { code, options }]) => {
    const words = name === 'reference-server' ? [] : ['--', program, 'fixture', name];
    const reports = join(folder, name);
    const fixed = ['--no-config', '--no-regressions', '--seed=11', '--quiet', '--shrink-budget=3s', `--reports-dir=${reports}`];
    const exited = await run(program, [...fixed, ...options, ...words], { cwd: folder }).then(() => 0, error => {
      if (typeof error.code !== 'number') throw error;
      return error.code;
    });
    if (exited !== code) throw new Error(`${name}: exit code ${exited}, not ${code}`);
    return [name, join(reports, '11')];
  };
  const folders = Object.fromEntries(await Promise.all(Object.entries(RUNS).map(one)));
  folders.thousand = await thousand(folders['drops-in-flight'], join(folder, 'thousand'));
  return folders;
}

/** A report like another one, with a thousand trials; the histories of what failed stay where they are. */
async function thousand(from, to) {
  const report = JSON.parse(await readFile(join(from, 'report.json'), 'utf8'));
  const again = (all, step) => Array.from({ length: 1000 }, (_, n) => ({ ...all[n % all.length], ...step(n) }));
  const names = path => path && join(from, path);
  const late = n => 0.2 + (n * 7919 % 1000);
  report.plan.trials = again(report.plan.trials, n => ({ number: n + 1 }));
  report.trials = again(report.trials, n => {
    const trial = report.trials[n % report.trials.length];
    return { number: n + 1, history: names(trial.history), exit: trial.exit && { ...trial.exit, after_ms: late(n) }, drain_ms: late(n + 5) };
  });
  for (const found of report.reproductions) if (found.shown) found.shown.history = names(found.shown.history);
  await mkdir(to, { recursive: true });
  await writeFile(join(to, 'report.json'), JSON.stringify(report));
  await run(program, ['report', to, '--quiet', `--output=html=${join(to, 'report.html')}`]);
  return to;
}
