"use strict";
(() => {
  const TEN = 10; // places are told in tenths of a pixel
  const KEPT = 3; // sections whose outlines stay in memory
  const MOST_CELLS = 40000; // in sight; drawing more would make the picture jerk
  const SHARP_FROM = 2; // screen pixels per picture pixel, from which these are shown as squares
  const study = window.SEVHISTO_STUDY;
  const at = (id) => document.getElementById(id);
  const make = (tag, text = "", name = "") => Object.assign(document.createElement(tag), { textContent: text, className: name });

  // ---------------------------------------------------------------- which section

  const asked = () => new URLSearchParams(location.hash.slice(1));
  const fits = (section, fields) =>
    [...fields].every(([name, value]) => {
      if (name === "section") return true;
      if (name === "words") return value.toLowerCase().split(/\s+/).every((word) => section.words.includes(word));
      if (name === "flags") return section.flag_names.split(" ").includes(value);
      return section[name] === value;
    });
  const listed = () => study.sections.filter((section) => section.picture && fits(section, asked()));
  const go = (id) => {
    const fields = asked();
    fields.set("section", id);
    location.hash = fields;
  };
  let current = null; // what the script of a section told
  const step = (by) => {
    const sections = listed();
    if (!sections.length) return;
    const here = sections.findIndex((section) => section.id === current?.id);
    go(sections[here < 0 ? 0 : (here + by + sections.length) % sections.length].id);
  };

  const loaded = new Map();
  window.SEVHISTO_SECTION = (section, drawn) => loaded.set(section.id, { ...section, drawn });
  const load = (id) =>
    new Promise((done, fail) => {
      if (loaded.has(id)) return done(loaded.get(id));
      const script = document.createElement("script");
      script.src = `data/${id}.js`;
      script.onload = () => {
        script.remove();
        for (const old of [...loaded.keys()].slice(0, -KEPT)) loaded.delete(old);
        if (loaded.has(id)) done(loaded.get(id));
        else fail();
      };
      script.onerror = fail;
      document.head.append(script);
    });

  // ---------------------------------------------------------------- the picture

  const viewer = new OpenSeadragon.Viewer({
    element: at("picture"),
    drawer: "canvas",
    showNavigationControl: false,
    showNavigator: true,
    navigatorPosition: "TOP_LEFT",
    navigatorSizeRatio: 0.16,
    navigatorOpacity: 1,
    navigatorAutoFade: false,
    maxZoomPixelRatio: 16,
    minZoomImageRatio: 0.5,
    visibilityRatio: 0.3,
    animationTime: matchMedia("(prefers-reduced-motion: reduce)").matches ? 0 : 0.35,
    smoothTileEdgesMinZoom: Infinity,
    gestureSettingsMouse: { clickToZoom: false, dblClickToZoom: true },
    crossOriginPolicy: false,
  });
  viewer.addHandler("canvas-key", (event) => {
    // turning and mirroring would leave the outlines behind; the other keys are told below
    event.preventDefaultAction = !event.originalEvent.key.startsWith("Arrow");
  });

  const off = new Set(); // markers that are switched off, in every section
  const levels = (picture) => 1 + Math.max(0, Math.ceil(Math.log2(Math.max(...picture.size) / picture.tile_px)));
  const css = (colour) => `rgb(${colour.map((c) => Math.round(255 * c)).join(" ")})`;
  const source = (picture, number, colour) => {
    const [height, width] = picture.size;
    const last = levels(picture) - 1;
    const found = new OpenSeadragon.TileSource({ width, height, tileSize: picture.tile_px, tileOverlap: 0, minLevel: 0, maxLevel: last });
    found.getTileUrl = (level, x, y) => `tiles/${picture.folder}/${number}/${last - level}/${x}_${y}.jpg`;
    if (colour) {
      // tiles are grey: half the size, and every colour as sharp as brightness
      found.getTileCacheDataAsContext2D = (cache) => {
        if (!cache._renderedContext) {
          const image = cache._data;
          const context = Object.assign(document.createElement("canvas"), { width: image.width, height: image.height }).getContext("2d");
          context.drawImage(image, 0, 0);
          context.globalCompositeOperation = "multiply";
          context.fillStyle = css(colour);
          context.fillRect(0, 0, image.width, image.height);
          cache._renderedContext = context;
          cache._data = null;
        }
        return cache._renderedContext;
      };
    }
    return found;
  };
  let items = [];
  const openPicture = (section) => {
    const { picture } = section;
    const { channels } = picture;
    viewer.world.removeAll();
    items = [];
    (channels.length ? channels : [null]).forEach((channel, number) => {
      viewer.addTiledImage({
        tileSource: source(picture, number, channel?.colour),
        x: 0,
        y: 0,
        width: 1,
        compositeOperation: channel ? "lighter" : undefined,
        opacity: channel && off.has(channel.marker) ? 0 : 1,
        success: ({ item }) => {
          if (current !== section) return;
          items[number] = item;
          if (!number) viewer.viewport.goHome(true);
        },
      });
    });
  };
  let missing = ""; // what of this section could not be loaded
  viewer.addHandler("tile-load-failed", () => {
    missing = "A part of the picture is missing. Copy the whole folder, or make it again: sevhisto report STUDY --slides";
    say(missing);
  });

  // ---------------------------------------------------------------- what is drawn on it

  const canvas = at("drawn");
  viewer.canvas.append(canvas); // under the navigator
  const context = canvas.getContext("2d");
  const dark = { tissue: "#fff", lesion: "#ff9500", cavity: "#56b4e9", masked: "#f0e442", zones: "#fff", cells: "#fff", halo: "rgb(0 0 0 / .65)" };
  const bright = { tissue: "#000", lesion: "#d55e00", cavity: "#0072b2", masked: "#000", zones: "#000", cells: "#000", halo: "rgb(255 255 255 / .6)" };
  const ink = () => (current.picture.channels.length ? dark : bright);
  const LINES = {
    tissue: { key: "T", label: "Tissue", width: 1.2, dash: [] },
    lesion: { key: "L", label: "Lesion core", width: 3, dash: [] },
    cavity: { key: "V", label: "Cavity", width: 1.8, dash: [8, 4] },
    masked: { key: "X", label: "Left out", width: 1.3, dash: [8, 3, 2, 3], hatched: true },
    zones: { key: "Z", label: "Zone borders", width: 1.4, dash: [1.5, 4] },
  };
  const MARKS = [
    (c, x, y, r) => { c.moveTo(x, y - r); c.lineTo(x + r, y + r); c.lineTo(x - r, y + r); c.closePath(); },
    (c, x, y, r) => c.rect(x - r, y - r, 2 * r, 2 * r),
    (c, x, y, r) => { c.moveTo(x, y - r); c.lineTo(x + r, y); c.lineTo(x, y + r); c.lineTo(x - r, y); c.closePath(); },
    (c, x, y, r) => { c.moveTo(x, y + r); c.lineTo(x + r, y - r); c.lineTo(x - r, y - r); c.closePath(); },
  ];
  const circle = (c, x, y, r) => { c.moveTo(x + r, y); c.arc(x, y, r, 0, 2 * Math.PI); };
  const shown = new Set(["tissue", "lesion", "cavity", "masked", "zones"]);
  let hidden = false;
  let paths = {};

  const addLine = (path, points, closed) => {
    for (let i = 0; i < points.length; i += 2) path[i ? "lineTo" : "moveTo"](points[i] / TEN, points[i + 1] / TEN);
    if (closed) path.closePath();
  };
  const tracePaths = ({ outlines, zones }) => {
    paths = {};
    for (const [name, polygons] of Object.entries(outlines)) {
      paths[name] = new Path2D();
      for (const polygon of polygons) for (const ring of polygon) addLine(paths[name], ring, true);
    }
    if (zones.length) {
      paths.zones = new Path2D();
      for (const [, lines] of zones) for (const line of lines) addLine(paths.zones, line, false);
    }
  };
  const stroke = (c, path, { width, dash }, colour, halo, scale) => {
    c.lineJoin = "round";
    c.setLineDash([]);
    c.strokeStyle = halo;
    c.lineWidth = (width + 1.8) / scale;
    if (!dash.length) c.stroke(path);
    c.setLineDash(dash.map((part) => part / scale));
    if (dash.length) c.stroke(path);
    c.strokeStyle = colour;
    c.lineWidth = width / scale;
    c.stroke(path);
    c.setLineDash([]);
  };
  const hatch = (c, path, colour, scale) => {
    const tile = Object.assign(document.createElement("canvas"), { width: 12, height: 12 });
    const lines = tile.getContext("2d");
    lines.strokeStyle = colour;
    lines.globalAlpha = 0.75;
    for (const x of [-12, 0, 12]) { lines.moveTo(x, 12); lines.lineTo(x + 12, 0); }
    lines.stroke();
    const pattern = c.createPattern(tile, "repeat");
    pattern.setTransform(new DOMMatrix().scale(1 / scale));
    c.fillStyle = pattern;
    c.fill(path, "evenodd");
  };
  const drawCells = (c, which, mark, fill, place, halo) => {
    const { cells, radii } = current.drawn;
    const [w, h] = [canvas.clientWidth, canvas.clientHeight];
    const seen = [];
    for (const i of which) {
      const x = place.x + (cells[2 * i] / TEN) * place.scale;
      const y = place.y + (cells[2 * i + 1] / TEN) * place.scale;
      if (x > -9 && y > -9 && x < w + 9 && y < h + 9) seen.push([x, y, (radii[i] / TEN) * place.scale]);
    }
    if (seen.length > MOST_CELLS) return seen.length;
    c.beginPath();
    for (const [x, y, r] of seen) mark(c, x, y, fill ? Math.min(Math.max(0.45 * r, 2.6), 9) : Math.max(r, 2));
    c.strokeStyle = fill ? halo : ink().cells;
    c.lineWidth = fill ? 1.6 : 1.1;
    c.stroke();
    if (fill) { c.fillStyle = fill; c.fill(); }
    return 0;
  };
  const pictures = new Map(); // marker to the picture of its positive area
  const loadAreas = ({ areas }) => {
    pictures.clear();
    for (const [marker, source] of areas) {
      const picture = new Image();
      picture.onload = draw;
      picture.src = source;
      pictures.set(marker, picture);
    }
  };
  const ring = document.createElement("canvas");
  const drawArea = (c, marker, place, sharp) => {
    // the area a pixel to each side, without the area itself: its outline, with no pixel read
    const picture = pictures.get(marker);
    if (!picture?.complete) return;
    const [y, x, size] = current.drawn.areas_at;
    const part = (n) => sharp * n * place.scale;
    const box = [sharp * place.x + part(x), sharp * place.y + part(y), part(size * picture.width), part(size * picture.height)];
    Object.assign(ring, { width: canvas.width, height: canvas.height });
    const r = ring.getContext("2d");
    r.imageSmoothingEnabled = false;
    for (const [dx, dy] of [[-1, 0], [1, 0], [0, -1], [0, 1]]) r.drawImage(picture, box[0] + dx * 1.4 * sharp, box[1] + dy * 1.4 * sharp, box[2], box[3]);
    r.globalCompositeOperation = "destination-out";
    r.drawImage(picture, ...box);
    r.globalCompositeOperation = "source-in";
    r.fillStyle = paleColour(marker);
    r.fillRect(0, 0, ring.width, ring.height);
    c.drawImage(ring, 0, 0);
  };
  const paleColour = (marker) => {
    const channel = current.picture.channels.find((one) => one.marker === marker);
    return channel ? css(channel.colour.map((part) => 0.45 + 0.55 * part)) : ink().lesion;
  };
  const placeOf = () => {
    const item = viewer.world.getItemAt(0);
    if (!item) return null;
    const corner = item.imageToViewerElementCoordinates(new OpenSeadragon.Point(0, 0));
    const far = item.imageToViewerElementCoordinates(new OpenSeadragon.Point(current.picture.size[1], 0));
    return { x: corner.x, y: corner.y, scale: (far.x - corner.x) / current.picture.size[1] };
  };
  const draw = () => {
    const sharp = devicePixelRatio || 1;
    const [w, h] = [Math.round(canvas.clientWidth * sharp), Math.round(canvas.clientHeight * sharp)];
    if (canvas.width !== w || canvas.height !== h) Object.assign(canvas, { width: w, height: h });
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, w, h);
    const place = current && placeOf();
    if (!place) return;
    viewer.drawer.setImageSmoothingEnabled(place.scale < SHARP_FROM);
    drawScale(place.scale);
    let many = 0;
    if (!hidden) {
      const colours = ink();
      for (const [marker] of current.drawn.areas) if (shown.has(`area ${marker}`)) drawArea(context, marker, place, sharp);
      context.setTransform(sharp * place.scale, 0, 0, sharp * place.scale, sharp * place.x, sharp * place.y);
      for (const [name, look] of Object.entries(LINES)) {
        if (!shown.has(name) || !paths[name]) continue;
        if (look.hatched) hatch(context, paths[name], colours[name], place.scale);
        stroke(context, paths[name], look, colours[name], colours.halo, place.scale);
      }
      context.setTransform(sharp, 0, 0, sharp, 0, 0);
      if (shown.has("cells")) many += drawCells(context, current.drawn.radii.keys(), circle, "", place, colours.halo);
      current.drawn.positive.forEach(([marker, which], i) => {
        if (shown.has(`cells ${marker}`)) many += drawCells(context, which, MARKS[i % MARKS.length], markColour(marker), place, colours.halo);
      });
    }
    say(many ? `${many.toLocaleString("en")} cells in sight: zoom in to see them.` : missing);
  };
  const markColour = (marker) => {
    const channel = current.picture.channels.find((one) => one.marker === marker);
    return channel ? css(channel.colour) : ink().lesion;
  };
  const drawScale = (scale) => {
    const um = current.picture.um_per_px / scale; // of a screen pixel
    const most = Math.min(240, canvas.clientWidth / 4) * um;
    const power = 10 ** Math.floor(Math.log10(most));
    const length = [5, 2, 1].map((m) => m * power).find((l) => l <= most);
    at("scale").querySelector("i").style.width = `${length / um}px`;
    at("scale").querySelector("span").textContent = length >= 1000 ? `${length / 1000} mm` : `${length} µm`;
  };
  const say = (text) => {
    at("message").hidden = !text;
    at("message").textContent = text;
  };
  viewer.addHandler("update-viewport", draw);
  new ResizeObserver(draw).observe(canvas);

  // ---------------------------------------------------------------- the side

  const keys = new Map(); // key to what it does in this section
  const switchRow = (label, key, on, change, note, sample) => {
    const row = make("label", "", "switch");
    const box = Object.assign(document.createElement("input"), { type: "checkbox", checked: on });
    const picture = Object.assign(document.createElement("canvas"), { width: 68, height: 28 });
    const c = picture.getContext("2d");
    c.scale(2, 2);
    sample(c);
    box.addEventListener("change", () => change(box.checked));
    row.append(box, picture, make("span", label));
    if (note) row.append(make("small", note));
    if (key) {
      row.append(make("kbd", key));
      keys.set(key.toLowerCase(), () => box.click());
    }
    return row;
  };
  const grey = (value) => Number(value.toPrecision(3)).toString();
  const showChannels = ({ picture }) => {
    const { channels } = picture;
    const rows = channels.map(({ marker, low, high, colour }, i) =>
      switchRow(marker, i < 9 ? String(i + 1) : "", !off.has(marker), (on) => {
        off[on ? "delete" : "add"](marker);
        items[i]?.setOpacity(on ? 1 : 0);
      }, `${grey(low)} to ${grey(high)}`, (c) => {
        c.fillStyle = css(colour);
        c.fillRect(0, 0, 34, 14);
      }));
    at("channels").replaceChildren(...(rows.length ? rows : [make("p", "A colour picture, as it was taken.")]));
    if (rows.length) at("channels").append(make("p", "Grey levels shown as black and as full colour: the same for the whole stain batch.", "hint"));
  };
  const overlayRow = (name, label, key, n, sample) => {
    const row = switchRow(label, key, shown.has(name), (on) => {
      shown[on ? "add" : "delete"](name);
      hidden = false;
      draw();
    }, n === null ? "" : n ? n.toLocaleString("en") : "none", (c) => {
      c.fillStyle = ink() === dark ? "#000" : "#fff";
      c.fillRect(0, 0, 34, 14);
      sample(c);
    });
    row.classList.toggle("absent", n === 0);
    return row;
  };
  const showOverlays = ({ drawn }) => {
    const rows = Object.entries(LINES).map(([name, look]) => {
      const line = new Path2D("M2 7H32");
      const edges = name === "zones" ? drawn.zones.map(([edge]) => edge).join(", ") : "";
      return overlayRow(name, edges ? `${look.label} at ${edges} µm` : look.label, look.key, paths[name] ? null : 0, (c) => stroke(c, line, look, ink()[name], "transparent", 1));
    });
    for (const [marker] of drawn.areas) {
      rows.push(overlayRow(`area ${marker}`, `${marker} positive`, "", null, (c) => { c.strokeStyle = paleColour(marker); c.lineWidth = 1.4; c.strokeRect(11, 3, 12, 8); }));
    }
    if (drawn.radii.length) rows.push(overlayRow("cells", "Cells", "C", drawn.radii.length, (c) => { c.strokeStyle = ink().cells; c.beginPath(); circle(c, 17, 7, 4); c.stroke(); }));
    drawn.positive.forEach(([marker, which], i) => {
      rows.push(overlayRow(`cells ${marker}`, `${marker}+ cells`, "", which.length, (c) => { c.fillStyle = markColour(marker); c.beginPath(); MARKS[i % MARKS.length](c, 17, 7, 4); c.fill(); }));
    });
    at("overlays").replaceChildren(...rows);
  };
  const table = (caption, head, body) => {
    const found = make("table");
    found.append(make("caption", caption));
    const row = (cells, tag) => {
      const line = make("tr");
      line.append(...cells.map((cell, i) => make(i ? tag : "th", cell)));
      return line;
    };
    found.append(row(head, "th"), ...body.map((cells) => row(cells, "td")));
    const wide = make("div", "", "scroll");
    wide.append(found);
    return wide;
  };
  const showNumbers = ({ markers, zones, counted, nuclei }) => {
    const parts = [];
    if (zones.length) {
      parts.push(table("Positive area, % of the zone", ["Zone, µm", "mm²", ...markers], zones.map((z) => [z.zone, z.area, ...z.shares])));
      if (counted) parts.push(table(`Positive cells${nuclei ? `; ${nuclei}: all nuclei` : ""}`, ["Zone, µm", ...markers], zones.map((z) => [z.zone, ...z.counts])));
    } else parts.push(make("p", "In no table: see its status."));
    at("numbers").replaceChildren(...parts);
  };
  const showSide = (section) => {
    const sections = listed();
    const here = sections.findIndex((one) => one.id === section.id);
    document.title = `${section.title}, panel ${section.panel}: ${study.study}`;
    at("title").textContent = `${section.title}, panel ${section.panel}`;
    at("facts").textContent = section.facts;
    at("verdict").replaceChildren(make("b", [section.status, section.verdict && `verdict: ${section.verdict}`].filter(Boolean).join(", ")), section.reasons ? `. ${section.reasons}` : "");
    at("count").textContent = `${here < 0 ? "Not" : here + 1} of ${sections.length} sections with a picture${sections.length < study.sections.length ? `, ${study.sections.length} in all` : ""}`;
    at("pick").replaceChildren(...sections.map((one) => Object.assign(make("option", `${one.title}, ${one.panel}${one.verdict ? ` (${one.verdict})` : ""}`), { value: one.id, selected: one.id === section.id })));
    at("back").disabled = at("on").disabled = sections.length < 2;
    at("flags").replaceChildren(...section.flags.map(([, meaning]) => make("li", meaning)));
    const { um_per_px: um, slide_um_per_px: full, factor } = section.picture;
    const size = `${Number(um.toPrecision(4))} µm`;
    at("about").textContent = (factor > 1 ? `A pixel of the picture is ${size}, the mean of ${factor} × ${factor} of the slide (${Number(full.toPrecision(4))} µm).` : `Full resolution: a pixel is ${size}.`) + " Outlines and positive areas are those of the overview; the numbers count every pixel of the slide. The picture is a JPEG to look at, not to measure in.";
    at("fineness").hidden = factor <= 1;
    at("fineness").textContent = `Pictures at ${size} per pixel; the slide has ${Number(full.toPrecision(4))} µm`;
    at("report").hash = section.id;
    const filter = asked();
    filter.delete("section");
    at("list").hash = filter;
  };

  const show = async () => {
    const id = asked().get("section");
    const known = study.sections.find((section) => section.id === id) ?? listed()[0] ?? study.sections.find((section) => section.picture);
    if (!known?.picture) {
      say(known ? `${known.title} has no picture; the list of all sections says why.` : "No section has a picture.");
      return;
    }
    try {
      const section = await load(known.id);
      if ((asked().get("section") ?? known.id) !== known.id && study.sections.some((one) => one.id === asked().get("section"))) return;
      current = section;
    } catch {
      say("What belongs to this section is missing. Copy the whole folder, or make it again: sevhisto report STUDY --slides");
      return;
    }
    missing = "";
    keys.clear();
    document.body.classList.toggle("bright", ink() === bright);
    tracePaths(current.drawn);
    loadAreas(current.drawn);
    openPicture(current);
    showSide(current);
    showChannels(current);
    showOverlays(current);
    showNumbers(current.numbers);
    draw();
  };

  at("back").addEventListener("click", () => step(-1));
  at("on").addEventListener("click", () => step(1));
  at("pick").addEventListener("change", (event) => go(event.target.value));
  addEventListener("hashchange", show);
  const zoom = (by) => viewer.viewport.zoomBy(by).applyConstraints();
  const always = {
    n: () => step(1),
    p: () => step(-1),
    o: () => { hidden = !hidden; draw(); },
    0: () => viewer.viewport.goHome(),
    f: () => { const item = viewer.world.getItemAt(0); if (item) viewer.viewport.zoomTo(item.imageToViewportZoom(1)); },
    "+": () => zoom(1.5),
    "=": () => zoom(1.5),
    "-": () => zoom(1 / 1.5),
  };
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey || event.target.closest("select")) return;
    const act = always[event.key.toLowerCase()] ?? keys.get(event.key.toLowerCase());
    if (!act) return;
    event.preventDefault();
    act();
  }, true);
  show();
})();
