import { createContext, useContext } from "react";
import * as compare from "./compare/strings";
import * as estimate from "./estimate/strings";
import * as history from "./history/strings";
import * as queue from "./queue/strings";
import * as run from "./run/strings";

const en = {
  ...compare.en,
  ...history.en,
  ...queue.en,
  ...run.en,
  ...estimate.en,
  run: "Run",
  overview: "Overview",
  comparison: "Before and after",
  plan: "Plan",
  logs: "Logs",
  loading: "Loading…",
  unreachable: "No answer from Airflow. What you see is the last state; the page goes on by itself.",
  notRecorded: "Nothing is recorded of this run yet. It begins with the task plan.",
  state: "State",
  data: "Data",
  cluster: "Cluster",
  recipe: "Recipe",
  startedBy: "Started by",
  elapsed: "Elapsed",
  left: "Left",
  gpuHours: "GPU-hours",
  verdict: "Verdict",
  version: "Version",
  servedBefore: "Served when it began",
  nothingNew: "Nothing new: run {run} trained the same plan",
  training: "Training",
  loss: "Loss",
  lr: "Learning rate",
  secondsPerStep: "Seconds a step",
  tokensPerSecond: "Tokens a second, one rank",
  logScale: "Log scale",
  smoothing: "Smoothing",
  noIterations: "No iteration yet.",
  hosts: "Hosts",
  host: "Host",
  gpu: "GPU",
  memory: "Memory",
  show: "Show",
  chain: "Chain",
  task: "Task",
  duration: "Duration",
  tries: "Tries",
  before: "Before",
  after: "After",
  reference: "Reference",
  why: "Why",
  servedAt: "What served at (UTC)",
  nothingServed: "Nothing was served at that time.",
  hoursPerPoint: "GPU-hours a point",
  price: "Price",
  nothingNewRuns: "{n} runs with nothing new",
  more: "Show more",
  trainedOn: "Trained on",
  saveReport: "Save as one HTML file",
  openInAirflow: "Open in Airflow",
  setting: "Setting",
  value: "Value",
  compareWith: "Compare with run",
  differencesOnly: "Differences only",
  history: "History",
  score: "Score",
  servesNow: "serves now",
  noVersions: "No version is registered yet.",
  promotions: "What served when",
  versions: "Versions",
  runs: "Runs",
  at: "Time (UTC)",
  decidedBy: "Decided by",
  serve: "Serve",
  state_planned: "no verdict",
  state_nothing_new: "nothing new",
  state_trained: "trained",
  state_passed: "passed",
  state_held_back: "held back",
  state_promoted: "promoted",
  close: "Close",
  interfaceLanguage: "Language of this page",
};

export type Key = keyof typeof en;

const zh: Record<Key, string> = {
  ...compare.zh,
  ...history.zh,
  ...queue.zh,
  ...run.zh,
  ...estimate.zh,
  run: "运行",
  overview: "概览",
  comparison: "训练前后对比",
  plan: "运行计划",
  logs: "日志",
  loading: "加载中…",
  unreachable: "Airflow 暂无响应。当前显示的是最近一次的状态，恢复后页面会自动更新。",
  notRecorded: "此次运行尚无记录：plan 任务完成后才会有。",
  state: "状态",
  data: "数据",
  cluster: "集群",
  recipe: "配方",
  startedBy: "触发方式",
  elapsed: "已用时",
  left: "剩余",
  gpuHours: "GPU 小时",
  verdict: "结论",
  version: "版本",
  servedBefore: "运行开始时的线上版本",
  nothingNew: "没有新内容：运行 {run} 已经训练过相同的计划",
  training: "训练",
  loss: "损失",
  lr: "学习率",
  secondsPerStep: "每步耗时（秒）",
  tokensPerSecond: "单卡每秒 token 数",
  logScale: "对数坐标",
  smoothing: "平滑",
  noIterations: "还没有迭代记录。",
  hosts: "主机",
  host: "主机",
  gpu: "GPU",
  memory: "显存",
  show: "查看",
  chain: "任务链",
  task: "任务",
  duration: "耗时",
  tries: "尝试次数",
  before: "训练前",
  after: "训练后",
  reference: "参考模型",
  why: "判定依据",
  servedAt: "查询某一时刻的线上版本（UTC）",
  nothingServed: "当时没有线上版本。",
  hoursPerPoint: "每提升 1 个百分点的 GPU 小时",
  price: "费用",
  nothingNewRuns: "{n} 次运行没有新内容",
  more: "显示更多",
  trainedOn: "训练数据",
  saveReport: "保存为单个 HTML 文件",
  openInAirflow: "在 Airflow 中打开",
  setting: "设置",
  value: "值",
  compareWith: "与此运行比较",
  differencesOnly: "只看差异",
  history: "历史",
  score: "得分",
  servesNow: "当前线上版本",
  noVersions: "还没有登记任何版本。",
  promotions: "上线记录",
  versions: "版本",
  runs: "运行",
  at: "时间（UTC）",
  decidedBy: "决定依据",
  serve: "上线",
  state_planned: "尚无结论",
  state_nothing_new: "没有新内容",
  state_trained: "已训练",
  state_passed: "通过",
  state_held_back: "未通过",
  state_promoted: "已上线",
  close: "关闭",
  interfaceLanguage: "界面语言",
};

const LANGUAGES = { en, zh };
export type Language = keyof typeof LANGUAGES;

/** The language that was chosen on this machine, else the browser's: Chinese or English. */
export function initialLanguage(): Language {
  const chosen = localStorage.getItem("sqltune.language");
  if (chosen === "en" || chosen === "zh") return chosen;
  return navigator.language.toLowerCase().startsWith("zh") ? "zh" : "en";
}

export const LanguageContext = createContext<Language>("en");

export type Translate = (key: Key, values?: Record<string, string | number>) => string;

const translator =
  (language: Language): Translate =>
  (key, values = {}) =>
    Object.entries(values).reduce<string>(
      (text, [name, value]) => text.replace(`{${name}}`, String(value)),
      LANGUAGES[language][key],
    );
const TRANSLATORS: Record<Language, Translate> = { en: translator("en"), zh: translator("zh") };

/** The same function each time for a language: what it is given to need not be drawn again. */
export const translate = (language: Language): Translate => TRANSLATORS[language];

export const useText = (): Translate => translate(useContext(LanguageContext));

/** The name of a value for people, such as `class_join`; a value that has none stands for itself. */
export function named(text: Translate, prefix: string, value: string): string {
  const key = `${prefix}_${value.replaceAll(" ", "_")}`;
  return Object.hasOwn(en, key) ? text(key as Key) : value;
}
