"use strict";
(() => {
  const cards = [...document.querySelectorAll(".gallery figure")];
  const filter = document.querySelector(".filter");
  const count = document.querySelector(".count");
  const shown = () => cards.filter((card) => !card.hidden);

  const apply = () => {
    const asked = [...filter.querySelectorAll("input, select")].filter((field) => field.value.trim());
    for (const card of cards) {
      card.hidden = !asked.every((field) => {
        const value = field.value.trim();
        if (field.name === "words") return value.toLowerCase().split(/\s+/).every((word) => card.dataset.words.includes(word));
        if (field.name === "flags") return card.dataset.flags.split(" ").includes(value);
        return card.dataset[field.name] === value;
      });
    }
    count.textContent = asked.length ? `${shown().length} of ${cards.length} sections` : `${cards.length} sections`;
  };

  if (filter && cards.length) {
    filter.hidden = false;
    filter.addEventListener("input", apply);
    filter.querySelector("button").addEventListener("click", () => {
      for (const field of filter.querySelectorAll("input, select")) field.value = "";
      apply();
    });
    apply();
  }

  const view = document.querySelector("dialog");
  let current = null;
  const show = (card) => {
    current = card;
    const picture = card.querySelector("img");
    const large = view.querySelector("img");
    large.src = picture.src;
    large.alt = picture.alt;
    view.querySelector("b").textContent = card.querySelector("h4").textContent;
    const [, ...rest] = card.querySelector("figcaption").childNodes;
    view.querySelector("p").textContent = rest.map((part) => part.textContent).join("").replace(/\s+/g, " ");
  };
  const step = (by) => {
    const open = shown().filter((card) => card.querySelector("img"));
    show(open[(open.indexOf(current) + by + open.length) % open.length]);
  };
  if (view) {
    for (const button of document.querySelectorAll("button.frame")) {
      button.addEventListener("click", () => {
        show(button.closest("figure"));
        view.showModal();
      });
    }
    view.querySelector(".back").addEventListener("click", () => step(-1));
    view.querySelector(".on").addEventListener("click", () => step(1));
    view.querySelector(".close").addEventListener("click", () => view.close());
    view.addEventListener("keydown", (event) => {
      if (event.key === "ArrowLeft") step(-1);
      if (event.key === "ArrowRight") step(1);
    });
    view.addEventListener("close", () => current?.querySelector("button.frame").focus());
  }

  // a link of the map leads to its card even where the filter hides it
  addEventListener("hashchange", () => {
    const card = cards.find((one) => `#${one.id}` === location.hash);
    if (card?.hidden) {
      filter.querySelector("button").click();
      card.scrollIntoView();
    }
  });

  const links = new Map([...document.querySelectorAll("nav a")].map((link) => [link.hash.slice(1), link]));
  const heads = [...document.querySelectorAll("main h2[id]")];
  const mark = () => {
    const at = heads.filter((head) => head.getBoundingClientRect().top < innerHeight / 3).pop() ?? heads[0];
    for (const [id, link] of links) {
      if (id === at?.id) link.setAttribute("aria-current", "true");
      else link.removeAttribute("aria-current");
    }
  };
  addEventListener("scroll", mark, { passive: true });
  mark();

  // what is folded away on the screen stands on paper
  const folded = () => document.querySelectorAll("details:not([open])");
  let opened = [];
  addEventListener("beforeprint", () => {
    opened = [...folded()];
    for (const one of opened) one.open = true;
  });
  addEventListener("afterprint", () => {
    for (const one of opened) one.open = false;
  });
})();
