/** The web page's entry point. */

import '@preact/signals';
import { render } from 'preact';

import { App } from './app.js';
import { follow } from './live.js';
import 'uplot/dist/uPlot.min.css';
import './style.css';

follow();
render(<App />, document.getElementById('page')!);
