/** The web page in a browser, as a reader has it: what it says, and everything that went wrong in it. */

import { mkdirSync } from 'node:fs';
import { join } from 'node:path';

import type { Browser, Page } from 'playwright-core';

import { repositoryRoot } from '../lab/paths.js';

export const screenshots = join(repositoryRoot, 'out/web-screenshots');

export interface Look {
  readonly colorScheme?: 'light' | 'dark';
  /** Pixels. */
  readonly width?: number;
}

export class WebPage {
  /** Exceptions, and requests for anything elsewhere. */
  readonly faults: string[] = [];

  private constructor(readonly page: Page) {}

  /** `url`: where the daemon is reached, without a path. */
  static async open(browser: Browser, url: string, { colorScheme = 'light', width = 1280 }: Look = {}) {
    mkdirSync(screenshots, { recursive: true });
    const context = await browser.newContext({ baseURL: url, colorScheme, viewport: { width, height: 900 } });
    const opened = new WebPage(await context.newPage());
    opened.page.on('pageerror', (error) => opened.faults.push(String(error)));
    opened.page.on('request', (request) => {
      const isOwn = request.url().startsWith(url) || request.url().startsWith('data:');
      if (!isOwn) opened.faults.push(`asked for ${request.url()}`);
    });
    await opened.page.goto('/');
    return opened;
  }

  /** Goes to a page of it, and waits until that says something. */
  async show(hash: string, says: string): Promise<void> {
    await this.page.evaluate(`location.hash = '${hash}'`);
    await this.page.locator('main').getByText(says).first().waitFor();
  }

  text(): Promise<string> {
    return this.page.locator('main').innerText();
  }

  /** What a list of terms says of one; rejects when it does not have it. */
  fact(term: string): Promise<string> {
    return this.page.locator(`dt:text-is("${term}") + dd`).first().innerText();
  }

  /** The cells of a table's column, from above. */
  column(title: string): Promise<string[]> {
    return this.page.locator(`td[data-title="${title}"]`).allInnerTexts();
  }

  async screenshot(name: string, fullPage = true): Promise<void> {
    await this.page.screenshot({ path: join(screenshots, `${name}.png`), fullPage });
  }

  close(): Promise<void> {
    return this.page.context().close();
  }
}
