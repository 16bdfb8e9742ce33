// How answers are sampled, and a form for it. What is empty is not sent, so the server's own values hold.

import { element } from "./dom.js";
import { readChoice, writeChoice } from "./store.js";

const SAMPLERS = [
  ["temperature", "Temperature", { min: 0, max: 100, step: "any" }, "0 always takes the likeliest token"],
  ["top_p", "Top p", { min: 0.000001, max: 1, step: "any" }, "keep the likeliest tokens up to this sum"],
  ["top_k", "Top k", { min: 0, max: 2147483647, step: 1 }, "keep so many tokens; 0 keeps all"],
  ["min_p", "Min p", { min: 0, max: 1, step: "any" }, "of the likeliest token's probability"],
  ["repeat_penalty", "Repeat penalty", { min: 0.01, max: 100, step: "any" }, "1 changes nothing"],
  ["presence_penalty", "Presence penalty", { min: -100, max: 100, step: "any" }, "0 changes nothing"],
  ["frequency_penalty", "Frequency penalty", { min: -100, max: 100, step: "any" }, "0 changes nothing"],
  ["max_tokens", "Tokens at most", { min: 1, max: 2147483647, step: 1 }, "of an answer"],
  ["seed", "Seed", { min: 0, max: Number.MAX_SAFE_INTEGER, step: 1 }, "the same seed, the same answer"],
];
const EFFORTS = ["", "none", "minimal", "low", "medium", "high"];
const NAMES = [...SAMPLERS.map(([name]) => name), "reasoning_effort"];

export class Settings {
  // Fills `place` with the fields.
  constructor(place) {
    const saved = readChoice("settings", {});
    this.fields = new Map();
    for (const [name, label, limits, hint] of SAMPLERS) {
      this.add(place, name, label, element("input", { type: "number", inputmode: "decimal", ...limits }), hint);
    }
    const options = EFFORTS.map((effort) => element("option", { value: effort }, effort || "as the server has it"));
    this.add(place, "reasoning_effort", "Reasoning", element("select", {}, ...options), "for models that reason");
    for (const name of NAMES) this.fields.get(name).value = saved[name] ?? "";
    place.addEventListener("change", () => this.save());
  }

  add(place, name, label, field, hint) {
    field.id = `sampler-${name}`;
    field.setAttribute("aria-description", hint);
    field.title = hint;
    this.fields.set(name, field);
    place.append(element("div", {}, element("label", { for: field.id }, label), field));
  }

  // The fields of a request; those that are empty or not valid are left out.
  values() {
    const filled = NAMES.filter((name) => this.fields.get(name).value !== "" && this.fields.get(name).validity.valid);
    return Object.fromEntries(
      filled.map((name) => {
        const text = this.fields.get(name).value;
        return [name, name === "reasoning_effort" ? text : Number(text)];
      }),
    );
  }

  clear() {
    for (const field of this.fields.values()) field.value = "";
    this.save();
  }

  save() {
    writeChoice("settings", this.values());
  }
}
