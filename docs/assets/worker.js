// The site's search runs in a web worker, which browsers refuse to pages opened from disk. For such
// pages this runs the worker's script in a hidden frame, which exchanges the same messages.
if (location.protocol === "file:") {
  window.Worker = class {
    constructor(url) {
      this.onmessage = null;
      this.onerror = null;
      this.inside = null;
      this.waiting = [];
      this.frame = document.createElement("iframe");
      this.frame.hidden = true;
      this.frame.srcdoc = "<!doctype html><title>Search</title>";
      this.frame.onload = () => this.start(url);
      document.documentElement.append(this.frame);
    }

    start(url) {
      const inside = this.frame.contentWindow;
      inside.postMessage = (message) => {
        const data = structuredClone(message);
        setTimeout(() => this.onmessage?.({ data }));
      };
      const script = inside.document.createElement("script");
      script.src = url;
      script.onerror = (event) => this.onerror?.(event);
      script.onload = () => {
        this.inside = inside;
        this.waiting.splice(0).forEach((data) => this.postMessage(data));
      };
      inside.document.head.append(script);
    }

    // A message is a copy, as a worker's is: either side may change what it was given.
    postMessage(message) {
      const data = structuredClone(message);
      if (this.inside) setTimeout(() => this.inside?.onmessage?.({ data }));
      else this.waiting.push(data);
    }

    terminate() {
      this.inside = null;
      this.frame.remove();
    }
  };
}
