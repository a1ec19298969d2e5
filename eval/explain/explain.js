"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  if (!data) return;
  const byId = (id) => document.getElementById(id);
  const make = (tag, properties = {}) => Object.assign(document.createElement(tag), properties);
  const bytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const count = data.times.length, cells = data.cells, maps = data.maps;
  const tokens = bytes(data.tokens);
  const inCameras = data.cameraMaps && { ...data.cameraMaps, values: bytes(data.cameraMaps.values) };
  const saliency = data.saliency && { ...data.saliency, values: bytes(data.saliency.values) };
  const stage = document.querySelector(".stage");
  const state = { moment: 0, map: 0, timer: null };

  // Colours of a map: the brighter, the more opaque (stops of the "inferno" scale).
  const STOPS = [[0, 0, 4], [31, 12, 72], [85, 15, 109], [136, 34, 106], [186, 54, 85], [227, 89, 51], [249, 140, 10], [249, 201, 50], [252, 255, 164]];
  const glow = (values, width, height) => {
    const canvas = make("canvas", { width, height });
    const context = canvas.getContext("2d");
    const image = context.createImageData(width, height);
    for (let i = 0; i < width * height; i += 1) {
      const level = values[i] / 255 * (STOPS.length - 1), low = Math.min(Math.floor(level), STOPS.length - 2);
      for (let c = 0; c < 3; c += 1) image.data[4 * i + c] = STOPS[low][c] + (level - low) * (STOPS[low + 1][c] - STOPS[low][c]);
      image.data[4 * i + 3] = 0.78 * values[i];
    }
    context.putImageData(image, 0, 0);
    return canvas;
  };
  const pictures = new Map();
  const picture = (source) => {
    if (!pictures.has(source)) {
      const image = new Image();
      image.addEventListener("load", () => draw());
      image.src = source;
      pictures.set(source, image);
    }
    const image = pictures.get(source);
    return image.complete && image.naturalWidth ? image : null;
  };
  const mapAt = (moment, map) => tokens.subarray((moment * maps.length + map) * cells, (moment * maps.length + map + 1) * cells);

  // Cameras: one picture a moment holds all of them side by side.
  const cameraCanvas = byId("cameras");
  const columns = Math.max(2, Math.ceil(data.cameras.length / 2)), tile = 320;
  if (data.cameras.length) {
    cameraCanvas.width = columns * tile;
    cameraCanvas.height = Math.ceil(data.cameras.length / columns) * tile;
  } else {
    byId("camera-figure").hidden = true;
    stage.classList.add("blind");
  }
  const cameraLayer = (camera, map) => {
    const pixels = saliency && maps[map].id === "integrated_gradients";
    const layer = pixels ? saliency : inCameras;
    if (!layer) return null;
    const area = layer.width * layer.height;
    const row = pixels ? state.moment * data.cameras.length + camera : (state.moment * data.cameras.length + camera) * maps.length + map;
    return glow(layer.values.subarray(row * area, (row + 1) * area), layer.width, layer.height);
  };
  const drawCameras = (canvas, map, small) => {
    if (!data.cameras.length) return;
    const context = canvas.getContext("2d"), tile = canvas.width / columns;
    const image = picture(data.pictures[state.moment]);
    context.clearRect(0, 0, canvas.width, canvas.height);
    data.cameras.forEach((name, camera) => {
      const left = (camera % columns) * tile, top = Math.floor(camera / columns) * tile;
      if (image) {
        const side = image.naturalWidth / data.cameras.length;
        context.drawImage(image, camera * side, 0, side, image.naturalHeight, left, top, tile, tile);
      }
      const layer = cameraLayer(camera, map);
      if (layer) context.drawImage(layer, left, top, tile, tile);
      if (small) return;
      context.font = "600 17px sans-serif";
      context.fillStyle = "rgb(23 27 33 / .7)";
      context.fillRect(left + 6, top + 6, context.measureText(name).width + 14, 26);
      context.fillStyle = "#e8ecf1";
      context.fillText(name, left + 13, top + 25);
    });
  };

  // Bird's eye: label, map, cars, waypoints. Vehicle frame: x forward is up, y left is left.
  const place = (size, x, y) => [(data.extent - y) / (2 * data.extent) * size, (data.extent - x) / (2 * data.extent) * size];
  const outline = (context, size, pose, colour) => {
    const [x, y, yaw] = pose, half = data.car.width / 2;
    const point = (along, across) => place(size, x + along * Math.cos(yaw) - across * Math.sin(yaw), y + along * Math.sin(yaw) + across * Math.cos(yaw));
    context.strokeStyle = colour;
    context.lineWidth = size / 260;
    context.beginPath();
    [[data.car.front, half], [-data.car.rear, half], [-data.car.rear, -half], [data.car.front, -half]].forEach((corner, i) => context[i ? "lineTo" : "moveTo"](...point(...corner)));
    context.closePath();
    context.moveTo(...point(data.car.front - 1.2, 0));
    context.lineTo(...point(data.car.front, 0));
    context.stroke();
  };
  // A policy whose tokens lie in no grid is shown over its cameras alone.
  if (!data.size) byId("birds-eye").closest("figure").hidden = true;
  const drawBirdsEye = (canvas, map, small) => {
    if (!data.size) return;
    const context = canvas.getContext("2d"), size = canvas.width;
    context.fillStyle = "#171b21";
    context.fillRect(0, 0, size, size);
    const label = data.labels.length ? picture(data.labels[state.moment]) : null;
    if (label) {
      context.imageSmoothingEnabled = false;
      context.drawImage(label, 0, 0, size, size);
      context.imageSmoothingEnabled = true;
    }
    context.drawImage(glow(mapAt(state.moment, map), data.size, data.size), 0, 0, size, size);
    if (data.targets.length) outline(context, size, data.targets[state.moment], "#2cc3a2");
    outline(context, size, [0, 0, 0], "#e8ecf1");
    if (small || !data.waypoints.length) return;
    context.fillStyle = context.strokeStyle = "#ffb02e";
    data.waypoints[state.moment].forEach(([x, y, yaw]) => {
      context.beginPath();
      context.arc(...place(size, x, y), 5, 0, 7);
      context.fill();
      context.beginPath();
      context.moveTo(...place(size, x, y));
      context.lineTo(...place(size, x + 0.6 * Math.cos(yaw), y + 0.6 * Math.sin(yaw)));
      context.stroke();
    });
  };

  // What is decided now, in words.
  const signed = (value, digits) => `${value < 0 ? "\u2212" : ""}${Math.abs(value).toFixed(digits)}`;
  const said = (name, value) => {
    if (name === "acceleration") return `${value > 0 ? "throttle" : "brake"} ${Math.abs(value).toFixed(2)}`;
    if (name === "steer") return `${value > 0 ? "left" : "right"} ${Math.abs(value).toFixed(2)}`;
    if (name === "reverse") return value >= 0.5 ? "reverse gear" : "forward gear";
    return signed(value, 2);
  };
  const facts = () => {
    const now = state.moment, rows = [];
    if (data.speed.length) rows.push(["speed", `${signed(data.speed[now], 2)} m/s`]);
    data.actionNames.forEach((name, i) => rows.push([name, said(name, data.actions[now][i])]));
    if (!data.driven) data.actionNames.forEach((name, i) => rows.push([`${name}, policy`, said(name, data.policyActions[now][i])]));
    if (data.targets.length) {
      const [x, y, yaw] = data.targets[now];
      rows.push(["target", `${Math.hypot(x, y).toFixed(2)} m, ${signed(yaw * 180 / Math.PI, 0)}°`]);
    }
    if (data.waypoints.length) {
      const [x, y] = data.waypoints[now].at(-1);
      rows.push(["last waypoint", `${signed(x, 1)} m, ${signed(y, 1)} m`]);
    }
    byId("facts").replaceChildren(...rows.flatMap(([name, value]) => [make("dt", { textContent: name }), make("dd", { textContent: value })]));
  };

  // Charts over time; pointing at one moves the time.
  const cursors = [];
  const seek = (moment) => {
    state.moment = Math.max(0, Math.min(count - 1, Math.round(moment)));
    draw();
  };
  const chart = (title, note, series, low, high) => {
    const figure = make("figure", { className: "chart" });
    const caption = make("figcaption");
    caption.append(make("b", { textContent: title }), make("span", { textContent: note }));
    const NS = "http://www.w3.org/2000/svg";
    const svg = document.createElementNS(NS, "svg");
    svg.setAttribute("viewBox", "0 0 100 100");
    svg.setAttribute("preserveAspectRatio", "none");
    const across = (i) => count > 1 ? i / (count - 1) * 100 : 50;
    const upwards = (value) => 96 - (value - low) / (high - low) * 92;
    const add = (tag, className, attributes) => {
      const node = document.createElementNS(NS, tag);
      node.setAttribute("class", className);
      Object.entries(attributes).forEach(([name, value]) => node.setAttribute(name, value));
      svg.append(node);
      return node;
    };
    if (low <= 0 && high >= 0) add("line", "zero", { x1: 0, x2: 100, y1: upwards(0), y2: upwards(0) });
    const lines = series.map(([className]) => add("path", className, {}));
    const setLines = (values) => lines.forEach((line, k) => {
      let pen = "M";
      line.setAttribute("d", values[k].map((value, i) => {
        if (value === null) { pen = "M"; return ""; }
        const step = `${pen}${across(i).toFixed(2)} ${upwards(value).toFixed(2)}`;
        pen = "L";
        return step;
      }).join(""));
    });
    setLines(series.map(([, values]) => values));
    cursors.push([add("line", "cursor", { y1: 0, y2: 100 }), across]);
    const point = (event) => {
      const box = svg.getBoundingClientRect();
      seek((event.clientX - box.left) / box.width * (count - 1));
    };
    svg.addEventListener("pointerdown", (event) => { svg.setPointerCapture(event.pointerId); point(event); });
    svg.addEventListener("pointermove", (event) => { if (event.buttons) point(event); });
    figure.append(caption, svg);
    byId("charts").append(figure);
    return setLines;
  };
  const column = (rows, i) => rows.map((row) => row[i]);
  const range = (...lists) => {
    const values = lists.flat().filter((value) => value !== null);
    return [Math.min(0, ...values) - 0.05, Math.max(0.1, ...values) + 0.05];
  };
  data.actionNames.forEach((name, i) => {
    const done = column(data.actions, i), own = column(data.policyActions, i);
    const series = data.driven ? [["done", done]] : [["own", own], ["done", done]];
    const note = { acceleration: "throttle up, brake down", steer: "left up, right down", reverse: "1: reverse gear" }[name] ?? "";
    chart(name, data.driven ? note : `${note ? `${note}; ` : ""}recorded, and the policy's own in amber`, series, ...range(done, own));
  });
  if (data.speed.length) chart("speed", "m/s", [["done", data.speed]], ...range(data.speed));
  if (data.targets.length) {
    const away = data.targets.map(([x, y]) => Math.hypot(x, y));
    chart("distance to the target pose", "m", [["done", away]], ...range(away));
  }
  const nothing = Array(count).fill(null);
  const agreementOf = (map) => data.agreement[maps[map].id] ?? nothing;
  const hasAgreement = Object.keys(data.agreement).length > 0;
  const setAgreement = hasAgreement && chart("agreement of the chosen map with masking", "rank correlation, −1 to 1", [["done", agreementOf(0)]], -1, 1);

  // Which map
  const chips = maps.map((map, i) => {
    const chip = make("button", { type: "button", className: "chip", textContent: map.title });
    chip.setAttribute("role", "radio");
    chip.addEventListener("click", () => choose(i));
    return chip;
  });
  byId("maps").append(...chips);
  const thumbnails = maps.map((map, i) => {
    const button = make("button", { type: "button", title: map.title });
    const canvas = make("canvas", { width: 160, height: data.size ? 160 : 160 * Math.ceil(data.cameras.length / columns) / columns });
    button.append(canvas, map.title);
    button.addEventListener("click", () => choose(i));
    return { button, canvas };
  });
  byId("thumbnails").append(...thumbnails.map(({ button }) => button));
  const choose = (map) => {
    state.map = map;
    byId("map-note").textContent = maps[map].note;
    byId("camera-caption").textContent = saliency && maps[map].id === "integrated_gradients"
      ? "Cameras under Captum's integrated gradients of the next action in the pixels."
      : data.size ? "Cameras under the map, carried back by the predicted depth."
      : "Cameras under the map: each token lies where it was gathered from.";
    if (setAgreement) setAgreement([agreementOf(map)]);
    draw();
  };

  const slider = byId("time");
  slider.max = count - 1;
  const draw = () => {
    slider.value = state.moment;
    byId("clock").textContent = `${data.times[state.moment].toFixed(1)} of ${data.times[count - 1].toFixed(1)} s`;
    chips.forEach((chip, i) => chip.setAttribute("aria-checked", String(i === state.map)));
    thumbnails.forEach(({ button, canvas }, i) => {
      button.setAttribute("aria-current", String(i === state.map));
      (data.size ? drawBirdsEye : drawCameras)(canvas, i, true);
    });
    byId("peak").textContent = `Brightest token: ${(data.peaks[state.moment][state.map] * cells).toFixed(1)} times an even share.`;
    drawCameras(cameraCanvas, state.map, false);
    drawBirdsEye(byId("birds-eye"), state.map, false);
    facts();
    cursors.forEach(([cursor, across]) => {
      cursor.setAttribute("x1", across(state.moment));
      cursor.setAttribute("x2", across(state.moment));
    });
  };
  slider.addEventListener("input", () => seek(Number(slider.value)));
  const stop = () => {
    clearInterval(state.timer);
    state.timer = null;
    byId("play").textContent = "Play";
    byId("play").setAttribute("aria-pressed", "false");
  };
  const play = () => {
    if (state.moment >= count - 1) state.moment = 0;
    const between = count > 1 ? 1000 * (data.times[1] - data.times[0]) : 100;
    state.timer = setInterval(() => (state.moment < count - 1 ? seek(state.moment + 1) : stop()), between);
    byId("play").textContent = "Pause";
    byId("play").setAttribute("aria-pressed", "true");
  };
  byId("play").addEventListener("click", () => (state.timer ? stop() : play()));
  document.addEventListener("keydown", (event) => {
    if (event.target.closest("input, button, select")) return;
    if (event.key === "ArrowLeft") seek(state.moment - 1);
    if (event.key === "ArrowRight") seek(state.moment + 1);
    if (event.key === " ") { event.preventDefault(); byId("play").click(); }
  });
  const wanted = /^#(\w+)@([\d.]+)$/.exec(location.hash);
  if (wanted) {
    state.map = Math.max(0, maps.findIndex((map) => map.id === wanted[1]));
    const at = data.times.findIndex((time) => time >= Number(wanted[2]));
    state.moment = at < 0 ? count - 1 : at;
  }
  choose(state.map);
})();
