"use strict";
/* What the page can do beyond being looked at: hints at the pointer, one cursor through all
   charts over time, arrow keys, and light or dark. Text is set as text, never as HTML. */
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const tip = document.getElementById("tip");
  const areas = [...document.querySelectorAll(".area.time")];
  const length = Math.max(data.to_ms - data.from_ms, 1);
  let held = -1;

  const element = (name, kind, text) => {
    const made = document.createElement(name);
    if (kind) made.className = kind;
    if (text !== undefined) made.textContent = text;
    return made;
  };
  const number = (value) => value.toLocaleString("en-US", { maximumFractionDigits: value < 10 ? 1 : 0 });
  const clock = (since_ms) => {
    const at = new Date(data.from_ms + since_ms).toISOString();
    return at.slice(11, length < 60000 ? 21 : 19);
  };
  const day = () => (data.wall && length >= 86400000);

  const row = (name, value, color) => {
    const made = element("div", "row");
    const label = element("span", "", "");
    if (color) {
      const swatch = element("i", "swatch");
      swatch.style.background = color;
      label.append(swatch);
    }
    label.append(name);
    made.append(label, element("b", "", value));
    return made;
  };

  const show = (content, x, y) => {
    tip.replaceChildren(...content);
    tip.hidden = false;
    const { width, height } = tip.getBoundingClientRect();
    const left = x + 16 + width > innerWidth ? x - 16 - width : x + 16;
    const top = y + 16 + height > innerHeight ? y - 16 - height : y + 16;
    tip.style.transform = `translate(${Math.max(left, 4)}px, ${Math.max(top, 4)}px)`;
  };
  const hide = () => {
    tip.hidden = true;
    document.querySelectorAll(".cursor").forEach((cursor) => cursor.remove());
  };

  /* The bucket that a moment lies in: buckets follow each other. */
  const bucket_at = (ms) => {
    let low = 0;
    let high = data.buckets.length - 1;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (data.buckets[middle][1] < ms) low = middle + 1; else high = middle;
    }
    return low;
  };

  const cursors = (at) => {
    const [from, to] = data.buckets[at];
    const left = `${((from + to) / 2 / length) * 100}%`;
    for (const area of areas) {
      let cursor = area.querySelector(".cursor");
      if (!cursor) area.append(cursor = element("i", "cursor"));
      cursor.style.left = left;
    }
  };

  const series_rows = (id, at) => (data.charts[id] || [])
    .map(({ name, values, unit, color }, place) => ({ name, value: values[at], unit, color: color || `var(--c${place + 1})` }))
    .filter(({ value }) => value !== undefined)
    .map(({ name, value, unit, color }) => row(name, value === null ? "–" : number(value) + unit, color));

  /* A column of a heat map holds several buckets: it has one time. */
  const bounds = (id, at) => {
    const heat = data.heat[id];
    if (!heat) return data.buckets[at];
    const column = heat.until.findIndex((until) => at < until);
    const first = column > 0 ? heat.until[column - 1] : 0;
    return [data.buckets[first][0], data.buckets[heat.until[column] - 1][1]];
  };

  const heat_rows = (id, at, up) => {
    const heat = data.heat[id];
    if (!heat) return [];
    const column = heat.columns[heat.until.findIndex((until) => at < until)] || [];
    const over = Math.floor(up * heat.rows.length);
    const found = column.find(([place]) => place === over);
    const all = column.reduce((sum, [, count]) => sum + count, 0);
    return [
      row(heat.rows[over] || "", found ? number(found[1]) : "0"),
      row("all", number(all)),
    ];
  };

  const point = (area, at, up, x, y) => {
    if (!data.buckets.length) return;
    held = at;
    cursors(at);
    const id = area.dataset.chart;
    const [from, to] = bounds(id, at);
    const date = day() ? `${new Date(data.from_ms + from).toISOString().slice(0, 10)} ` : "";
    const content = [element("div", "when", `${date}${clock(from)} to ${clock(to)}`)];
    content.push(...series_rows(id, at), ...heat_rows(id, at, up));
    for (const event of data.events[at] || []) content.push(element("div", "event", event));
    show(content, x, y);
  };

  for (const area of areas) {
    area.addEventListener("pointermove", (event) => {
      const box = area.getBoundingClientRect();
      const ms = ((event.clientX - box.left) / box.width) * length;
      const up = Math.min(Math.max((box.bottom - event.clientY) / box.height, 0), 0.9999);
      point(area, bucket_at(ms), up, event.clientX, event.clientY);
    });
    area.addEventListener("pointerleave", hide);
    area.addEventListener("blur", hide);
    area.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: -1, ArrowRight: 1, PageUp: -20, PageDown: 20 }[event.key];
      if (!step) return;
      event.preventDefault();
      const last = data.buckets.length - 1;
      const at = Math.min(Math.max(held < 0 ? last : held + step, 0), last);
      if (at < 0) return;
      const box = area.getBoundingClientRect();
      point(area, at, 0.5, box.left + (data.buckets[at][1] / length) * box.width, box.top + 8);
    });
  }

  for (const place of document.querySelectorAll("[data-tip]")) {
    place.addEventListener("pointermove", (event) => {
      show([element("div", "", place.dataset.tip)], event.clientX, event.clientY);
    });
    place.addEventListener("pointerleave", hide);
  }
  addEventListener("scroll", hide, { passive: true });

  const theme = document.getElementById("theme");
  const prefers_dark = matchMedia("(prefers-color-scheme: dark)");
  theme.hidden = false;
  theme.addEventListener("click", () => {
    const root = document.documentElement;
    const dark = root.dataset.theme ? root.dataset.theme === "dark" : prefers_dark.matches;
    root.dataset.theme = dark ? "light" : "dark";
  });
})();
