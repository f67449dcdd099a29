"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const COLORS = ["#1f77b4", "#d1681c", "#2b8a5b", "#8a4fae", "#c23b5a", "#7a6a2b", "#17a2b8", "#8c564b", "#5b6bd6", "#666"];
  const color = (k) => COLORS[k % COLORS.length];
  const short = (value) => value === null ? "–" : String(Number(value.toPrecision(4)));

  // --- elements -------------------------------------------------------------------------------

  function make(name, attributes = {}, ...children) {
    const vector = ["svg", "line", "rect", "circle", "path", "text", "g"].includes(name);
    const element = vector ? document.createElementNS("http://www.w3.org/2000/svg", name)
      : document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    element.append(...children);
    return element;
  }

  function choice(label, names, changed) {
    const list = make("select");
    names.forEach((name, k) => list.append(make("option", { value: k }, name)));
    list.addEventListener("change", () => changed(Number(list.value)));
    return make("label", {}, label + " ", list);
  }

  function legend(names) {
    const line = make("div", { class: "legend" });
    names.forEach((name, k) => line.append(make("span", {}, make("i", { style: `background:${color(k)}` }), name)));
    return line;
  }

  // --- tables that sort -----------------------------------------------------------------------

  for (const table of document.querySelectorAll("table.sortable")) {
    const heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, column) => head.addEventListener("click", () => {
      const order = head.dataset.order === "1" ? -1 : 1;
      heads.forEach((each) => delete each.dataset.order);
      head.dataset.order = order;
      const key = (row) => row.cells[column].textContent;
      const compare = head.classList.contains("number")
        ? (a, b) => parseFloat(key(a)) - parseFloat(key(b)) : (a, b) => key(a).localeCompare(key(b));
      const body = table.tBodies[0];
      body.append(...[...body.rows].sort((a, b) => order * compare(a, b)));
    }));
  }

  // --- axes -----------------------------------------------------------------------------------

  function ticks(low, high) {
    const step = 10 ** Math.floor(Math.log10((high - low) / 4));
    const width = [1, 2, 5, 10].map((k) => k * step).find((w) => (high - low) / w <= 6);
    const found = [];
    for (let k = Math.ceil(low / width); k * width <= high; k++) found.push(k * width);
    return found;
  }

  function logTicks(low, high) {
    const found = [];
    const many = Math.log10(high / low) < 2.5;
    for (let k = Math.floor(Math.log10(low)); k <= Math.log10(high); k++) {
      for (const m of many ? [1, 2, 5] : [1]) {
        const value = m * 10 ** k;
        if (value >= low && value <= high) found.push(value);
      }
    }
    return found;
  }

  // A plot with a frame, and functions from numbers to places in it.
  function axes(x, y, labels, logarithmic = false) {
    const [width, height, left, bottom, top] = [480, 400, 64, 44, 10];
    const right = 12;
    const scale = logarithmic ? Math.log10 : (value) => value;
    const [y0, y1] = y.map(scale);
    const at = {
      x: (value) => left + (value - x[0]) / (x[1] - x[0]) * (width - left - right),
      y: (value) => height - bottom - (scale(value) - y0) / (y1 - y0) * (height - bottom - top),
    };
    const svg = make("svg", { viewBox: `0 0 ${width} ${height}`, role: "img" });
    for (const value of ticks(...x)) {
      svg.append(make("line", { class: "grid", x1: at.x(value), x2: at.x(value), y1: top, y2: height - bottom }),
        make("text", { x: at.x(value), y: height - bottom + 15, "text-anchor": "middle" }, short(value)));
    }
    for (const value of (logarithmic ? logTicks : ticks)(...y)) {
      svg.append(make("line", { class: "grid", x1: left, x2: width - right, y1: at.y(value), y2: at.y(value) }),
        make("text", { x: left - 6, y: at.y(value) + 4, "text-anchor": "end" }, short(value)));
    }
    svg.append(make("rect", { class: "frame", x: left, y: top, width: width - left - right, height: height - bottom - top }),
      make("text", { x: (left + width) / 2, y: height - 8, "text-anchor": "middle" }, labels[0]),
      make("text", { x: 0, y: 0, "text-anchor": "middle", transform: `translate(13 ${(height - bottom) / 2}) rotate(-90)` }, labels[1]));
    return { svg, at };
  }

  const unit = (text) => text ? ` (${text})` : "";

  // --- parity and histograms ------------------------------------------------------------------

  function parity(panel, by) {
    const both = panel.reference.concat(panel.predicted).filter((v) => v !== null);
    let [low, high] = [Math.min(...both), Math.max(...both)];
    const margin = 0.04 * (high - low) || 1;
    [low, high] = [low - margin, high + margin];
    const { svg, at } = axes([low, high], [low, high], ["reference" + unit(panel.unit), "predicted" + unit(panel.unit)]);
    svg.append(make("line", { class: "frame", x1: at.x(low), y1: at.y(low), x2: at.x(high), y2: at.y(high) }));
    panel.reference.forEach((value, k) => {
      if (value === null || panel.predicted[k] === null) return;
      const kind = by ? panel[by][k] : 0;
      svg.append(make("circle", { cx: at.x(value).toFixed(1), cy: at.y(panel.predicted[k]).toFixed(1), r: 2, fill: color(kind), "fill-opacity": 0.55 }));
    });
    return svg;
  }

  function histogram(panel, by) {
    const kinds = by ? panel.histograms[by] : [];
    const shown = kinds.length ? kinds : [panel.histograms.all];
    const most = Math.max(...shown.flat()) || 1;
    const size = panel.histograms.limit * panel.factor;
    const { svg, at } = axes([-size, size], [0, 1.05 * most], ["error" + unit(panel.shown), "labels"]);
    shown.forEach((bins, k) => {
      const path = bins.map((count, b) => {
        const [from, to] = [b, b + 1].map((edge) => at.x(-size + 2 * size * edge / bins.length).toFixed(1));
        return `${b ? "L" : "M"}${from} ${at.y(count).toFixed(1)}L${to} ${at.y(count).toFixed(1)}`;
      });
      svg.append(make("path", { d: path.join(""), fill: "none", stroke: color(k), "stroke-width": 1.5 }));
    });
    return svg;
  }

  function showPanels(place) {
    const sets = [...new Set(data.panels.map((panel) => panel.set))];
    const state = { set: sets[sets.length - 1], name: null, by: 0 };
    const kinds = [["none", null], ["element", "element"], ["config_type", "group"]];
    const where = make("div");
    const properties = make("span");
    const draw = () => {
      const own = data.panels.filter((panel) => panel.set === state.set);
      const panel = own.find((each) => each.name === state.name) || own[own.length > 1 ? 1 : 0];
      state.name = panel.name;
      const list = choice("property", own.map((each) => each.title), (k) => { state.name = own[k].name; draw(); });
      list.querySelector("select").value = own.indexOf(panel);
      properties.replaceChildren(list);
      const by = kinds[state.by][1];
      const names = by === "element" ? panel.elements : by === "group" ? panel.groups : [];
      const some = panel.reference.length < panel.count ? ` ${panel.reference.length} of them are drawn, those with the largest errors among them.` : "";
      where.replaceChildren(
        make("p", {}, `${panel.title}: MAE ${short(panel.mae * panel.factor)} ${panel.shown}, RMSE ${short(panel.rmse * panel.factor)} ${panel.shown}, ${panel.count} labels.${some}`),
        legend(names.filter((name) => name)),
        make("div", { class: "plots" },
          make("figure", {}, parity(panel, by), make("figcaption", {}, panel.name === "energy_per_atom" ? "Energies without those of isolated atoms." : "")),
          make("figure", {}, histogram(panel, by), make("figcaption", {}, "The outermost bins hold everything beyond."))));
    };
    const first = choice("data set", sets, (k) => { state.set = sets[k]; draw(); });
    first.querySelector("select").value = sets.length - 1;
    place.append(make("div", { class: "choices" }, first, properties,
      choice("colors", kinds.map((kind) => kind[0]), (k) => { state.by = k; draw(); })), where);
    draw();
  }

  // --- structures -----------------------------------------------------------------------------

  function drawStructure(viewer, each) {
    viewer.removeAllModels();
    viewer.removeAllShapes();
    const lines = each.symbols.map((symbol, k) => [symbol, ...each.positions[k]].join(" "));
    viewer.addModel([each.symbols.length, "", ...lines].join("\n"), "xyz");
    viewer.setStyle({}, { stick: { radius: 0.12 }, sphere: { scale: 0.25 } });
    const point = (p) => ({ x: p[0], y: p[1], z: p[2] });
    const longest = Math.max(1e-9, ...Object.values(each.forces).flat().map((f) => Math.hypot(...f)));
    for (const [name, shade] of [["label", "#444444"], ["predicted", "#d1681c"]]) {
      (each.forces[name] || []).forEach((force, k) => {
        if (force.includes(null) || Math.hypot(...force) < 0.02 * longest) return;
        const start = each.positions[k];
        const end = start.map((value, axis) => value + 2 * force[axis] / longest);
        viewer.addArrow({ start: point(start), end: point(end), radius: 0.05, color: shade });
      });
    }
    for (let k = 0; each.cell.length && k < 8; k++) {
      const corner = [0, 1, 2].map((axis) => [0, 1, 2].reduce((sum, v) => sum + (k >> v & 1) * each.cell[v][axis], 0));
      each.cell.forEach((vector, v) => {
        if (k >> v & 1) return;
        viewer.addLine({ start: point(corner), end: point(corner.map((value, axis) => value + vector[axis])), color: "gray" });
      });
    }
    viewer.zoomTo();
    viewer.render();
  }

  function showWorst(place) {
    const body = make("tbody");
    const head = ["data set", "structure", "formula", "config_type", "error of", "size", "unit"];
    place.append(make("div", { class: "wide" }, make("table", {},
      make("thead", {}, make("tr", {}, ...head.map((name) => make("th", {}, name)))), body)));
    const note = make("p", { class: "note" });
    const room = make("div", { class: "viewer" });
    place.append(note, room);
    let viewer = null;
    try {
      viewer = window.$3Dmol.createViewer(room, { backgroundColor: "white" });
    } catch (error) {
      room.remove();
      note.textContent = "Structures are not drawn: this browser has no WebGL.";
    }
    data.worst.forEach((each, k) => {
      const cells = [each.set, each.source, each.formula, each.group, each.by, short(each.error), each.unit];
      const row = make("tr", {}, ...cells.map((text) => make("td", {}, text)));
      row.addEventListener("click", () => {
        for (const other of body.rows) other.classList.toggle("chosen", other === row);
        if (!viewer) return;
        note.textContent = each.symbols.length
          ? "Forces: reference gray, predicted orange, the longest drawn with 2 Å. Drag to turn, scroll to zoom."
          : "Too many atoms to be drawn.";
        drawStructure(viewer, each);
      });
      body.append(row);
      if (k === 0) row.click();
    });
  }

  // --- learning curves ------------------------------------------------------------------------

  function curve(title, lines) {
    const usable = lines.map(([name, rows, key, factor]) =>
      [name, rows.filter((row) => row[key] > 0).map((row) => [row.epoch, row[key] * factor])]).filter((line) => line[1].length);
    if (!usable.length) return null;
    const all = usable.flatMap((line) => line[1]);
    const values = all.map((point) => point[1]);
    const low = Math.min(...values) / 1.2;
    const { svg, at } = axes([0, Math.max(...all.map((point) => point[0]))], [low, Math.max(...values) * 1.2], ["epoch", title], true);
    if (data.curves.best !== null) {
      const x = at.x(data.curves.best);
      svg.append(make("line", { class: "frame", "stroke-dasharray": "4 3", x1: x, x2: x, y1: 10, y2: 356 }));
    }
    usable.forEach(([, points], k) => {
      const path = points.map(([x, y], n) => `${n ? "L" : "M"}${at.x(x).toFixed(1)} ${at.y(y).toFixed(1)}`).join("");
      svg.append(make("path", { d: path, fill: "none", stroke: color(k), "stroke-width": 1.5 }));
      if (points.length < 25) for (const [x, y] of points) svg.append(make("circle", { cx: at.x(x), cy: at.y(y), r: 2.5, fill: color(k) }));
    });
    return make("figure", {}, legend(usable.map((line) => line[0])), svg);
  }

  function showCurves(place) {
    const { train, validation, errors } = data.curves;
    const figures = [
      curve("loss", [["training", train, "loss", 1], ["validation", validation, "loss", 1]]),
      ...errors.map(({ name, title, shown, factor }) => curve(title + unit(shown), [
        ["MAE", validation, `${name}_mae`, factor], ["RMSE", validation, `${name}_rmse`, factor],
        ["MAE of replay", validation, `replay_${name}_mae`, factor]])),
      curve("learning rate", [["learning rate", train, "learning_rate", 1]]),
    ];
    const dashed = data.curves.best === null ? "" : "The dashed line is the epoch whose weights were kept.";
    place.append(make("div", { class: "plots" }, ...figures.filter((figure) => figure)), make("p", { class: "note" }, dashed));
  }

  for (const [name, show] of [["panels", showPanels], ["worst", showWorst], ["curves", showCurves]]) {
    const place = document.getElementById(name);
    if (place) show(place);
  }
})();
