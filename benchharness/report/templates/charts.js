// Charts: each panel a view of Vega, made when it comes near the screen and again when the page
// turns dark or light. The page's pictures stay where this does not run, and for printing.

(() => {
  const charts = window.bench?.charts;
  if (typeof document === "undefined" || !charts || !window.vegaEmbed) return;
  const hidden = new Set();
  const views = new Map();  // place on the page → { spec, view }

  const colour = name => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const dark = () => getComputedStyle(document.body).colorScheme === "dark"
    || (colour("--page") || "#fff").match(/^#[0-4]/) !== null;

  function config() {
    const [ink, soft, line, page] = ["--ink", "--soft", "--line", "--page"].map(colour);
    return {
      background: page, font: getComputedStyle(document.body).fontFamily,
      view: { stroke: null },
      axis: {
        domainColor: soft, tickColor: soft, gridColor: line, labelColor: ink, titleColor: ink,
        labelFontSize: 11, titleFontSize: 12, titleFontWeight: "normal",
      },
    };
  }

  async function draw(place) {
    const entry = views.get(place);
    if (entry.busy) { entry.again = true; return; }
    entry.busy = true;
    // Where a suspect point is hollow the page shows through, in its colour of now.
    const values = { hidden: [...hidden], paper: colour("--page"), guide: colour("--soft") };
    const params = entry.spec.params.map(one => ({ ...one, value: values[one.name] }));
    const spec = { ...entry.spec, params };
    const made = await window.vegaEmbed(place, spec, {
      actions: false, ast: true, renderer: "svg", config: config(),
      tooltip: { theme: dark() ? "dark" : "light", },
    });
    entry.made?.finalize();
    entry.made = made;
    entry.busy = false;
    place.dataset.drawn = "yes";
    if (entry.again) { entry.again = false; await draw(place); }
  }

  const near = new IntersectionObserver(found => {
    for (const one of found) if (one.isIntersecting) {
      near.unobserve(one.target);
      draw(one.target);
    }
  }, { rootMargin: "400px" });

  function element(name, attributes = {}, ...inner) {
    const made = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    made.append(...inner);
    return made;
  }

  const SHAPES = {
    "circle": "M-.8,0A.8,.8,0,1,0,.8,0A.8,.8,0,1,0,-.8,0Z", "square": "M-.8,-.8H.8V.8H-.8Z",
    "triangle-up": "M0,-.9L.9,.8H-.9Z", "triangle-down": "M0,.9L.9,-.8H-.9Z",
    "diamond": "M0,-1L1,0L0,1L-1,0Z",
    "cross": "M-.3,-.9H.3V-.3H.9V.3H.3V.9H-.3V.3H-.9V-.3H-.3Z",
  };

  function swatch(model) {
    const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
    svg.setAttribute("viewBox", "-1 -1 2 2");
    svg.setAttribute("aria-hidden", "true");
    path.setAttribute("d", SHAPES[model.shape] ?? model.shape);
    path.setAttribute("fill", model.colour);
    svg.append(path);
    return svg;
  }

  // One legend below each title; what it hides is hidden in every chart of the page.
  function legend(models) {
    const group = element("div", { class: "legend", role: "group", "aria-label": "Models shown" });
    for (const model of models) {
      const button = element("button", { type: "button", "aria-pressed": "true" });
      button.dataset.model = model.name;
      button.append(swatch(model), element("span", {}, model.name));
      button.addEventListener("click", () => toggle(model.name));
      group.append(button);
    }
    return group;
  }

  function toggle(name) {
    if (!hidden.delete(name)) hidden.add(name);
    for (const button of document.querySelectorAll(".chart .legend button"))
      button.setAttribute("aria-pressed", String(!hidden.has(button.dataset.model)));
    for (const { made } of views.values()) made?.view.signal("hidden", [...hidden]).runAsync();
  }

  for (const figure of document.querySelectorAll(".chart")) {
    const chart = charts[figure.dataset.chart];
    if (!chart) continue;
    const panels = element("div", { class: "panels" });
    panels.style.setProperty("--across", String(Math.min(chart.across, 4)));
    for (const panel of chart.panels) {
      const view = element("div", { class: "view" });
      const words = panel.title ? [element("h4", {}, panel.title)] : [];
      panels.append(element("div", {}, ...words, view));
      views.set(view, { spec: panel.spec });
      near.observe(view);
    }
    const live = figure.querySelector(".live");
    live.append(legend(chart.models), panels);
    live.hidden = false;
    figure.classList.add("drawn");
  }

  // Colours follow the page's: the system's setting, or an attribute of the root.
  const again = () => { for (const [place, entry] of views) if (entry.made) draw(place); };
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", again);
  new MutationObserver(again).observe(document.documentElement, { attributes: true, attributeFilter: ["data-theme", "class"] });
})();
